// FakeStageEngine: a StageEngine without a model, whose every token says which request, stage and
// position it belongs to, so that a lost, repeated or mixed one shows. Also the stages of the
// orchestrator's benchmark and of the engine tests.
//
// Thread: as StageEngine: one.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "engine/stage_engine.h"
#include "stages/stage_graph.h"

namespace tutti::fake {

// The i-th token of a stage without sources in its answer to a segment.
inline int32_t source_token(RequestKey key, int64_t i, int32_t segment = 0) {
  const uint64_t position = static_cast<uint64_t>(i) + (static_cast<uint64_t>(segment) << 40);
  return static_cast<int32_t>(mix64(key.value * 0x10001 + position) >> 34);
}
// What stage `stage` makes of token `x` of a source.
inline int32_t mapped_token(int32_t stage, int32_t x) {
  return static_cast<int32_t>(mix64((static_cast<uint64_t>(stage) << 32) + uint32_t(x)) >> 34);
}

// What goes wrong for one sequence in one stage.
enum class Fault : uint8_t { kNone, kAdmitError, kAdmitThrow, kAppendThrow, kStepError };

struct FakeOptions {
  int64_t tokens_per_step = 1;  // of each sequence
  int64_t max_num_seqs = 4;
  int32_t sample_rate = 0;  // not 0: deltas carry audio, one sample a token
  std::function<Fault(RequestKey, int32_t stage)> fault;  // none when empty
  std::function<void(const StageRequest&, int32_t stage)> on_admit;
  // Whether a resumable sequence ends with its answer to the segment, though more would come (its
  // context is full).
  std::function<bool(RequestKey, int32_t stage, int32_t segment)> ends_early;
  // Called at the end of a sequence that got something of companions: what it got, in order.
  std::function<void(RequestKey, int32_t stage, const std::vector<int32_t>&)> on_companions;
};

class FakeStageEngine final : public StageEngine {
 public:
  FakeStageEngine(int32_t stage, bool is_entry, FakeOptions options = {})
      : stage_(stage), is_entry_(is_entry), options_(std::move(options)) {}

  Status admit(StageRequest request) override {
    if (options_.on_admit) options_.on_admit(request, stage_);
    const Fault fault = fault_of(request.key);
    if (fault == Fault::kAdmitError) return invalid_argument("The prompt is too long.");
    if (fault == Fault::kAdmitThrow) throw std::runtime_error("admission broke");
    Sequence sequence;
    sequence.segment = request.segment;
    if (is_entry_) {
      produce(sequence, request.key, request.sampling_params);
      sequence.resumable = request.input.resumable;
    } else {
      take(sequence, request.input.payload);
    }
    sequence.complete = request.input.last;
    sequence.request = std::move(request);
    sequences_.emplace_back(std::move(sequence));
    return {};
  }

  Status extend(StageSegment segment) override {
    Sequence* sequence = find(segment.key);
    if (!sequence) return {};
    if (!sequence->resumable && sequence->segments.empty()) {
      return invalid_argument("The sequence takes no further segments.");
    }
    sequence->segments.push_back(std::move(segment));
    if (sequence->complete) return {};
    next_segment(*sequence);
    return {};
  }

  void append(StageChunk chunk) override {
    Sequence* sequence = find(chunk.key);
    if (!sequence) return;
    if (fault_of(chunk.key) == Fault::kAppendThrow) throw std::runtime_error("append broke");
    take(*sequence, chunk.payload);
    sequence->complete |= chunk.last;
  }

  std::optional<StageOutput> abort(RequestKey key) override {
    const Sequence* sequence = find(key);
    if (!sequence) return std::nullopt;
    StageOutput held;
    held.key = key;
    std::erase_if(sequences_, [&](auto& s) { return s.request.key == key; });
    return held;
  }

  bool has_runnable_work() const override {
    for (const Sequence& s : sequences_) {
      if (!s.ready.empty() || s.complete) return true;
    }
    return false;
  }

  void step(std::vector<StageOutput>& outputs) override {
    ++stats_.steps;
    int64_t run = 0;
    for (Sequence& s : sequences_) {
      if (run == options_.max_num_seqs) break;
      if (s.ready.empty() && !s.complete) continue;
      ++run;
      outputs.push_back(step_one(s));
    }
    std::erase_if(sequences_, [](const Sequence& s) { return s.done; });
  }

  EngineStats stats() const override {
    EngineStats stats = stats_;
    stats.running = static_cast<int64_t>(sequences_.size());
    return stats;
  }

 private:
  struct Sequence {
    StageRequest request;
    std::deque<int32_t> ready;          // output tokens that may be published
    std::vector<int32_t> held_back;     // payload of a request that does not stream
    std::vector<int32_t> companions;    // tokens of companions
    std::deque<StageSegment> segments;  // that wait for their turn
    int32_t segment = 0;
    bool resumable = false;  // a further segment may come
    bool complete = false;   // no further input for the segment
    bool done = false;
  };

  static void produce(Sequence& sequence, RequestKey key, const SamplingParams& params) {
    for (int64_t i = 0; i < params.max_tokens.value_or(8); ++i) {
      sequence.ready.push_back(source_token(key, i, sequence.segment));
    }
  }
  static void next_segment(Sequence& sequence) {
    const StageSegment segment = std::move(sequence.segments.front());
    sequence.segments.pop_front();
    sequence.segment = segment.segment;
    sequence.resumable = segment.input.resumable;
    sequence.complete = true;
    produce(sequence, segment.key, segment.sampling_params);
  }

  Fault fault_of(RequestKey key) const {
    return options_.fault ? options_.fault(key, stage_) : Fault::kNone;
  }
  Sequence* find(RequestKey key) {
    for (Sequence& s : sequences_) {
      if (s.request.key == key) return &s;
    }
    return nullptr;
  }
  void take(Sequence& sequence, const StagePayload& payload) const {
    for (int32_t x : payload.token_ids) sequence.ready.push_back(mapped_token(stage_, x));
    for (const auto& [name, tensor] : payload.tensors) {
      const auto* ids = static_cast<const int32_t*>(tensor.raw_data());
      sequence.companions.insert(sequence.companions.end(), ids, ids + tensor.dim(0));
    }
  }

  StageOutput step_one(Sequence& s) {
    StageOutput output;
    output.key = s.request.key;
    if (fault_of(output.key) == Fault::kStepError) {
      s.done = output.finished = true;
      output.error = internal_error("The step broke.");
      return output;
    }
    for (int64_t i = 0; i < options_.tokens_per_step && !s.ready.empty(); ++i) {
      const int32_t token = s.ready.front();
      s.ready.pop_front();
      output.delta.token_ids.push_back(token);
      output.delta.text += static_cast<char>('a' + token % 26);
      if (options_.sample_rate != 0) {
        output.delta.audio.samples.push_back(static_cast<float>(token));
        output.delta.audio.sample_rate = options_.sample_rate;
      }
    }
    output.segment = s.segment;
    output.segment_finished = s.complete && s.ready.empty();
    const bool early = s.resumable && output.segment_finished && options_.ends_early &&
                       options_.ends_early(output.key, stage_, s.segment);
    s.done = output.finished = output.segment_finished && (!s.resumable || early);
    if (output.segment_finished) output.delta.finish_reason = FinishReason::kStop;
    if (s.request.wants_payload) {
      auto& held = s.held_back;
      held.insert(held.end(), output.delta.token_ids.begin(), output.delta.token_ids.end());
      if (s.request.streams_payload || output.segment_finished) {
        output.payload.token_ids = std::exchange(held, {});
      }
    }
    if (s.done && options_.on_companions && !s.companions.empty()) {
      options_.on_companions(output.key, stage_, s.companions);
    }
    if (output.segment_finished && !s.done) {
      s.complete = false;
      if (!s.segments.empty()) next_segment(s);
    }
    return output;
  }

  const int32_t stage_;
  const bool is_entry_;
  const FakeOptions options_;
  std::deque<Sequence> sequences_;
  EngineStats stats_;
};

// A stage of a fake pipeline; its processor passes payloads on as they are.
inline StageSpec fake_spec(std::string name, std::vector<int32_t> sources,
                           std::string final_output_type = "") {
  StageSpec spec;
  spec.model_stage = std::move(name);
  spec.sources = std::move(sources);
  spec.final_output = !final_output_type.empty();
  spec.final_output_type = std::move(final_output_type);
  if (!spec.sources.empty()) {
    spec.input_processor = [](const EdgeContext&, StagePayload payload, bool) {
      return Result<StagePayload>(std::move(payload));
    };
  }
  return spec;
}

// thinker (text) -> talker -> code2wav (audio)
inline std::vector<StageSpec> omni_specs() {
  return {fake_spec("thinker", {}, "text"), fake_spec("talker", {0}),
          fake_spec("code2wav", {1}, "audio")};
}

// All tokens that `stage` must put out for a request whose entry stages produce `count` tokens.
inline std::vector<int32_t> expected_tokens(const StageGraph& graph, int32_t stage, RequestKey key,
                                            int64_t count, int32_t segment = 0) {
  std::vector<int32_t> out;
  if (graph.spec(stage).sources.empty()) {
    for (int64_t i = 0; i < count; ++i) out.push_back(source_token(key, i, segment));
  }
  for (int32_t source : graph.spec(stage).sources) {
    for (int32_t x : expected_tokens(graph, source, key, count, segment)) {
      out.push_back(mapped_token(stage, x));
    }
  }
  return out;
}

}  // namespace tutti::fake
