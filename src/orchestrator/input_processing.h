// From AddRequest to AcceptedRequest: everything that can be wrong with a request is found here, in
// the caller's thread, before anything is enqueued.
//
// Thread: any; immutable after construction.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tutti/async_omni_engine.h"
#include "tutti/request.h"

#include "models/pipeline.h"
#include "orchestrator/messages.h"
#include "stages/stage_graph.h"

namespace tutti {

class RequestProcessor final : public InputProcessor {
 public:
  // `max_prompt_tokens` 0: not limited here.
  RequestProcessor(std::shared_ptr<const Pipeline> pipeline,
                   std::shared_ptr<const StageGraph> graph,
                   std::vector<SamplingParams> default_sampling_params, int64_t max_prompt_tokens);

  Result<std::unique_ptr<AcceptedRequest>> process(AddRequest request) const;
  Result<std::vector<int32_t>> prompt_token_ids(const Prompt& prompt) const override;

 private:
  Result<std::vector<int32_t>> wanted_outputs(const AddRequest& request) const;
  Result<std::vector<SamplingParams>> sampling_params(AddRequest& request) const;
  Result<StageInput> stage_input(const AddRequest& request) const;

  const std::shared_ptr<const Pipeline> pipeline_;
  const std::shared_ptr<const StageGraph> graph_;
  const std::vector<SamplingParams> default_sampling_params_;
  const int64_t max_prompt_tokens_;
};

}  // namespace tutti
