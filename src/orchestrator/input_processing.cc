#include "orchestrator/input_processing.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/random.h"
#include "base/seed.h"
#include "base/strings.h"
#include "stages/replica_core.h"

namespace tutti {

RequestProcessor::RequestProcessor(std::shared_ptr<const Pipeline> pipeline,
                                   std::shared_ptr<const StageGraph> graph,
                                   std::vector<SamplingParams> default_sampling_params,
                                   int64_t max_prompt_tokens)
    : pipeline_(std::move(pipeline)),
      graph_(std::move(graph)),
      default_sampling_params_(std::move(default_sampling_params)),
      max_prompt_tokens_(max_prompt_tokens) {}

Result<std::vector<int32_t>> RequestProcessor::wanted_outputs(const AddRequest& request) const {
  std::vector<int32_t> wanted = request.final_output_stage_ids;
  if (wanted.empty()) return graph_->final_stages();
  std::sort(wanted.begin(), wanted.end());
  wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
  const std::vector<int32_t>& known = graph_->final_stages();
  for (int32_t stage : wanted) {
    if (std::count(known.begin(), known.end(), stage) > 0) continue;
    std::vector<std::string> names;
    for (int32_t s : known) names.push_back(std::to_string(s));
    return invalid_argument(
               fmt::format(
                   "`final_output_stage_ids` has {}; the stages with a final output are {}.", stage,
                   join(names)))
        .with_param("final_output_stage_ids");
  }
  return wanted;
}

Result<std::vector<SamplingParams>> RequestProcessor::sampling_params(AddRequest& request) const {
  if (request.sampling_params_list.empty()) return default_sampling_params_;
  if (request.sampling_params_list.size() != default_sampling_params_.size()) {
    return invalid_argument(
               fmt::format("`sampling_params_list` has {} entries; this model has {} stages.",
                           request.sampling_params_list.size(), default_sampling_params_.size()))
        .with_param("sampling_params_list");
  }
  for (int32_t s = 0; s < graph_->size(); ++s) {
    Status status = request.sampling_params_list[s].validate();
    if (status.ok()) continue;
    // Of one stage there is only one that can be meant.
    if (graph_->size() == 1) return status;
    return std::move(status).with_context("Sampling parameters of " + graph_->describe(s));
  }
  return std::move(request.sampling_params_list);
}

Result<StageInput> RequestProcessor::stage_input(const AddRequest& request) const {
  try {
    TUTTI_ASSIGN_OR_RETURN(StageInput input, pipeline_->process_prompt(request.prompt));
    if (!request.voice.empty() || !pipeline_->voices().empty()) {
      TUTTI_ASSIGN_OR_RETURN(input.voice, pipeline_->resolve_voice(request.voice));
    }
    return input;
  } catch (...) {
    return status_of_current_exception("Processing the prompt");
  }
}

Result<std::vector<int32_t>> RequestProcessor::prompt_token_ids(const Prompt& prompt) const {
  AddRequest request;
  request.prompt = prompt;
  TUTTI_ASSIGN_OR_RETURN(StageInput input, stage_input(request));
  return std::move(input.payload.token_ids);
}

Result<std::unique_ptr<AcceptedRequest>> RequestProcessor::process(AddRequest request) const {
  auto accepted = std::make_unique<AcceptedRequest>();
  TUTTI_ASSIGN_OR_RETURN(accepted->final_output_stage_ids, wanted_outputs(request));
  TUTTI_ASSIGN_OR_RETURN(accepted->segment.sampling_params, sampling_params(request));
  TUTTI_ASSIGN_OR_RETURN(accepted->segment.input, stage_input(request));
  const auto tokens = static_cast<int64_t>(accepted->segment.input.payload.token_ids.size());
  if (max_prompt_tokens_ > 0 && tokens > max_prompt_tokens_) {
    return invalid_argument(
               fmt::format("The prompt has {} tokens; the context holds {}, of which at least one "
                           "is for the answer.",
                           tokens, max_prompt_tokens_ + 1))
        .with_param("prompt");
  }
  accepted->request_id = std::move(request.request_id);
  accepted->priority = request.priority;
  const uint64_t drawn = draw_seed();
  for (int32_t s = 0; s < graph_->size(); ++s) {
    const uint64_t own = mix64(drawn + static_cast<uint64_t>(s));
    accepted->segment.seeds.push_back(accepted->segment.sampling_params[s].seed.value_or(own));
  }
  return accepted;
}

}  // namespace tutti
