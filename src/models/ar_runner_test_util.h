// ArRunner: steps several sequences of an ArModel together, with KV blocks of their own. For tests.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <vector>

#include "backend/executor.h"
#include "models/ar_model.h"

namespace tutti::testing {

class ArRunner {
 public:
  struct Slot {
    std::unique_ptr<ArSequence> sequence;
    std::vector<int32_t> generated;
    int64_t length = 0;  // positions computed
    SamplingParams params;
    uint64_t seed = 0;
    std::vector<float> logits;  // of the last sampled row
  };
  struct Part {
    int slot;
    int64_t count;
    bool samples = true;
  };

  ArRunner(ArModel& model, DeviceExecutor& executor, int slots, int64_t max_length);

  // Begins a sequence in a slot.
  Slot& put(int slot, std::unique_ptr<ArSequence> sequence);
  Slot& slot(int i) { return slots_[i]; }
  // Computes the parts as one batch; sampled rows append their largest allowed logit's id.
  void step(const std::vector<Part>& parts);
  // Forgets what was computed, as preemption does.
  void preempt(int i) { slots_[i].length = 0; }
  // Called around forward and after_sample of each step.
  std::function<void(bool begins)> around_model;

 private:
  static constexpr int64_t kBlockSize = 16;

  ArModel& model_;
  DeviceExecutor& executor_;
  int64_t blocks_each_;
  std::vector<Slot> slots_;
  std::vector<KvLayer> kv_;
};

inline ArRunner::ArRunner(ArModel& model, DeviceExecutor& executor, int slots, int64_t max_length)
    : model_(model),
      executor_(executor),
      blocks_each_((max_length + ArRunner::kBlockSize - 1) / ArRunner::kBlockSize),
      slots_(slots) {
  const ArModelInfo& info = model.info();
  const Shape shape{blocks_each_ * slots, info.num_key_value_heads, ArRunner::kBlockSize,
                    info.head_dim};
  for (int64_t i = 0; i < info.num_layers; ++i) {
    kv_.push_back({Tensor::zeros(shape, info.kv_dtype), Tensor::zeros(shape, info.kv_dtype)});
  }
}

inline ArRunner::Slot& ArRunner::put(int slot, std::unique_ptr<ArSequence> sequence) {
  slots_[slot] = {};
  slots_[slot].sequence = std::move(sequence);
  return slots_[slot];
}

inline void ArRunner::step(const std::vector<Part>& parts) {
  const auto i32 = [](int64_t n) { return static_cast<int32_t>(n); };
  const auto n = static_cast<int64_t>(parts.size());
  std::vector<int32_t> starts{0}, lengths, tables, slot_rows;
  std::vector<ArBatchItem> items;
  int64_t max_query = 0, max_kv = 0, samples = 0;
  for (const Part& part : parts) {
    Slot& slot = slots_[part.slot];
    ArBatchItem& item = items.emplace_back();
    item = {slot.sequence.get(), slot.length, part.count, slot.generated,
            part.samples,        samples,     true};
    samples += part.samples ? 1 : 0;
    starts.push_back(starts.back() + i32(part.count));
    lengths.push_back(i32(slot.length + part.count));
    for (int64_t b = 0; b < blocks_each_; ++b) tables.push_back(i32(part.slot * blocks_each_ + b));
    for (int64_t p = slot.length; p < slot.length + part.count; ++p) {
      slot_rows.push_back(i32(part.slot * blocks_each_ * ArRunner::kBlockSize + p));
    }
    max_query = std::max(max_query, part.count);
    max_kv = std::max(max_kv, slot.length + part.count);
  }
  const Tensor query_start = Tensor::from_vector(starts, {n + 1});
  const Tensor kv_lengths = Tensor::from_vector(lengths, {n});
  const Tensor block_tables = Tensor::from_vector(tables, {n, blocks_each_});
  const Tensor slot_tensor = Tensor::from_vector(slot_rows, {i32(slot_rows.size())});
  const ops::PagedBatch paged{query_start, kv_lengths, block_tables, slot_tensor,
                              n,           max_query,  max_kv};
  const ArBatch batch{items, starts.back(), samples, paged, kv_};
  std::vector<int32_t> tokens(samples);
  std::vector<uint8_t> ends(samples, 0);
  std::vector<const SamplingParams*> params(samples);
  std::vector<uint64_t> seeds(samples);
  executor_.run({}, [&](OpContext& ctx) {
    Workspace::Scope scope(ctx.workspace);
    if (around_model) around_model(true);
    const Tensor logits = model_.forward(ctx, batch);
    if (around_model) around_model(false);
    for (const Part& part : parts) {
      if (!part.samples) continue;
      const auto row =
          static_cast<int64_t>(std::ranges::find_if(items, [&](const ArBatchItem& item) {
                                 return item.sequence == slots_[part.slot].sequence.get();
                               })->sample_row);
      Slot& slot = slots_[part.slot];
      const float* values = logits.data<float>() + row * logits.cols();
      slot.logits.assign(values, values + logits.cols());
      std::vector<float> allowed = slot.logits;
      for (int32_t id : model_.info().suppressed_token_ids) allowed[id] = -1e30f;
      tokens[row] = i32(std::ranges::max_element(allowed) - allowed.begin());
      params[row] = &slot.params;
      seeds[row] = slot.seed;
    }
    if (samples == 0) return;
    if (around_model) around_model(true);
    model_.after_sample(ctx, batch, {tokens, ends, params, seeds});
    if (around_model) around_model(false);
  });
  for (size_t i = 0; i < parts.size(); ++i) {
    Slot& slot = slots_[parts[i].slot];
    slot.length += parts[i].count;
    if (parts[i].samples) slot.generated.push_back(tokens[items[i].sample_row]);
  }
}

}  // namespace tutti::testing
