// ArDriver: runs one sequence of an ArModel step by step, with a KV cache of its own.
//
// Thread: one. The physical blocks lie in reverse order, so that paging is exercised.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backend/executor.h"
#include "models/ar_model.h"

namespace tutti::parity {

// Tensors that a model's probe showed, in order of the calls: name -> values of each call.
class ProbeLog {
 public:
  Probe probe();
  void clear() { values_.clear(); }
  // Empty when never called.
  const std::vector<std::vector<float>>& calls(const std::string& name) const;
  // The only or last call.
  std::vector<float> last(const std::string& name) const;

 private:
  std::map<std::string, std::vector<std::vector<float>>> values_;
};

class ArDriver {
 public:
  ArDriver(ArModel& model, DeviceExecutor& executor, std::unique_ptr<ArSequence> sequence,
           int64_t max_length);

  struct Choice {
    int32_t token = 0;
    bool ends = false;
  };
  using Choose = std::function<Choice(std::span<const float> logits)>;
  // Computes the next `count` positions and samples after the last one with `choose`. The chosen
  // token is appended to generated(), unless it ends. Returns the logits.
  std::vector<float> step(int64_t count, const Choose& choose);
  // Computes without sampling.
  void prefill(int64_t count);

  ArSequence& sequence() { return *sequence_; }
  std::vector<int32_t>& generated() { return generated_; }
  int64_t length() const { return length_; }

 private:
  std::vector<float> run(int64_t count, const Choose* choose);

  ArModel& model_;
  DeviceExecutor& executor_;
  std::unique_ptr<ArSequence> sequence_;
  std::vector<KvLayer> kv_;
  int64_t num_blocks_;
  int64_t length_ = 0;  // positions computed
  std::vector<int32_t> generated_;
  SamplingParams params_;
};

// The largest logit after the repetition penalty on `seen` and without the suppressed ids, in the
// reference's order of processors; the lower id on ties.
int32_t choose_greedy(std::span<const float> logits, std::span<const int32_t> seen, float penalty,
                      std::span<const int32_t> suppressed);

}  // namespace tutti::parity
