#include "orchestrator/request_state.h"

namespace tutti {

RequestProgress::RequestProgress(std::unique_ptr<AcceptedRequest> accepted, const StageGraph& graph)
    : request(std::move(accepted)), stages(static_cast<size_t>(graph.size())) {
  const std::vector<uint8_t> needed = graph.needed_for(request->final_output_stage_ids);
  for (int32_t s = 0; s < graph.size(); ++s) {
    if (!needed[s]) continue;
    stages[s].state = StageProgress::State::kWaiting;
    stages[s].open_sources = static_cast<int32_t>(graph.spec(s).sources.size());
    for (int32_t consumer : graph.consumers(s)) stages[s].feeds_others |= needed[consumer] != 0;
  }
  for (int32_t s : request->final_output_stage_ids) stages[s].wanted_output = true;
  open_outputs = static_cast<int32_t>(request->final_output_stage_ids.size());
}

int32_t RequestProgress::first_open_output() const {
  for (int32_t s : request->final_output_stage_ids) {
    if (stages[s].state != StageProgress::State::kFinished) return s;
  }
  return request->final_output_stage_ids.front();
}

}  // namespace tutti
