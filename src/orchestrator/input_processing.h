// From AddRequest and StreamingUpdate to what the orchestrator takes: everything that can be wrong
// with them is found here, before anything is enqueued.
//
// Thread: any; immutable after construction.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tutti/async_omni_engine.h"
#include "tutti/request.h"

#include "models/pipeline.h"
#include "orchestrator/messages.h"
#include "stages/stage_graph.h"

namespace tutti {

struct RequestLimits {
  int64_t max_prompt_tokens = 0;       // 0: not limited here
  int32_t max_tokens_per_request = 0;  // output tokens of an AR stage; 0: no limit
  double request_timeout_s = 0;        // 0: no limit
  TimePoint epoch;                     // zero of the times in messages
  // Ids of a stage's replicas, ascending; empty: data_parallel_rank is not checked here.
  std::function<std::vector<int32_t>(int32_t stage)> replicas;
};

// What an update must agree with: how its request began.
struct SegmentContext {
  std::vector<SamplingParams> sampling_params;
  std::vector<int32_t> final_output_stage_ids;
  bool after_answer = true;    // the segment before was to be answered
  std::string open_role = {};  // of the message that it left open; empty: none
  int64_t tokens_used = 0;     // of max_tokens_per_request
};

class RequestProcessor final : public InputProcessor {
 public:
  RequestProcessor(std::shared_ptr<const Pipeline> pipeline,
                   std::shared_ptr<const StageGraph> graph,
                   std::vector<SamplingParams> default_sampling_params, RequestLimits limits);

  Result<std::unique_ptr<AcceptedRequest>> process(AddRequest request) const;
  Result<RequestSegment> process(StreamingUpdate update, const SegmentContext& began) const;
  Result<std::vector<int32_t>> prompt_token_ids(const Prompt& prompt) const override;
  Result<std::string> detokenize(std::span<const int32_t> ids) const override;
  std::string token_text(int32_t id) const override;

 private:
  Result<std::vector<int32_t>> wanted_outputs(const std::vector<int32_t>& ids,
                                              std::optional<int32_t> final_stage_id) const;
  // `otherwise` when `given` is empty. `may_be_silent`: max_tokens may be 0.
  Result<std::vector<SamplingParams>> sampling_params(std::vector<SamplingParams> given,
                                                      const std::vector<SamplingParams>& otherwise,
                                                      bool may_be_silent) const;
  Result<StageInput> stage_input(const Prompt& prompt, const PromptOptions& options) const;
  Status truncate(std::optional<int64_t> most_tokens, StageInput& input) const;
  Status check_rank(const AcceptedRequest& accepted) const;
  Status set_times(const AddRequest& request, AcceptedRequest& accepted) const;
  // In the engine's seconds; none: now.
  Result<double> arrival(std::optional<double> unix_s) const;
  // Of every stage that makes tokens.
  void limit_tokens(int32_t limit, std::vector<SamplingParams>& params) const;
  void draw_seeds(RequestSegment& segment) const;

  const std::shared_ptr<const Pipeline> pipeline_;
  const std::shared_ptr<const StageGraph> graph_;
  const std::vector<SamplingParams> default_sampling_params_;
  const RequestLimits limits_;
};

// Whether stage 0 takes the segment in without answering it.
bool is_silent(const RequestSegment& segment);

// Requests that begin alike have the same: of a chat its messages up to the first of the user, of
// other prompts their first tokens. Never 0.
uint64_t route_hash(const Prompt& prompt, const StageInput& input);

}  // namespace tutti
