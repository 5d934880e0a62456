#include "apps/parity/ar_driver.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/check.h"

namespace tutti::parity {

namespace {
constexpr int64_t kBlockSize = 16;

std::vector<float> values_of(const Tensor& tensor) {
  const Tensor copy = tensor.clone();
  const auto* data = copy.data<float>();
  return {data, data + copy.num_elements()};
}
}  // namespace

Probe ProbeLog::probe() {
  return [this](std::string_view name, const Tensor& tensor) {
    values_[std::string(name)].push_back(values_of(tensor));
  };
}

const std::vector<std::vector<float>>& ProbeLog::calls(const std::string& name) const {
  static const std::vector<std::vector<float>> none;
  const auto it = values_.find(name);
  return it == values_.end() ? none : it->second;
}

std::vector<float> ProbeLog::last(const std::string& name) const {
  const auto& all = calls(name);
  return all.empty() ? std::vector<float>() : all.back();
}

ArDriver::ArDriver(ArModel& model, DeviceExecutor& executor, std::unique_ptr<ArSequence> sequence,
                   int64_t max_length)
    : model_(model),
      executor_(executor),
      sequence_(std::move(sequence)),
      num_blocks_((max_length + kBlockSize - 1) / kBlockSize) {
  const ArModelInfo& info = model.info();
  const Shape shape{num_blocks_, info.num_key_value_heads, kBlockSize, info.head_dim};
  for (int64_t i = 0; i < info.num_layers; ++i) {
    kv_.push_back({Tensor::zeros(shape, info.kv_dtype), Tensor::zeros(shape, info.kv_dtype)});
  }
  params_.temperature = 0;
}

std::vector<float> ArDriver::step(int64_t count, const Choose& choose) {
  return run(count, &choose);
}

void ArDriver::prefill(int64_t count) { run(count, nullptr); }

std::vector<float> ArDriver::run(int64_t count, const Choose* choose) {
  const auto i32 = [](int64_t n) { return static_cast<int32_t>(n); };
  TUTTI_CHECK(length_ + count <= num_blocks_ * kBlockSize, "the cache holds max_length positions");
  const Tensor query_start = Tensor::from_vector(std::vector<int32_t>{0, i32(count)}, {2});
  const Tensor kv_lengths = Tensor::from_vector(std::vector<int32_t>{i32(length_ + count)}, {1});
  std::vector<int32_t> table;
  for (int64_t b = 0; b < num_blocks_; ++b) table.push_back(i32(num_blocks_ - 1 - b));
  std::vector<int32_t> slots;
  for (int64_t p = length_; p < length_ + count; ++p) {
    slots.push_back(table[p / kBlockSize] * i32(kBlockSize) + i32(p % kBlockSize));
  }
  const Tensor block_tables = Tensor::from_vector(table, {1, num_blocks_});
  const Tensor slot_rows = Tensor::from_vector(slots, {count});
  const ops::PagedBatch paged{query_start, kv_lengths, block_tables,   slot_rows,
                              1,           count,      length_ + count};
  ArBatchItem item;
  item.sequence = sequence_.get();
  item.start = length_;
  item.count = count;
  item.generated = generated_;
  item.samples = choose != nullptr;
  item.sample_row = choose != nullptr ? 0 : -1;
  item.wants_payload = true;
  const ArBatch batch{{&item, 1}, count, choose != nullptr ? 1 : 0, paged, kv_};

  std::vector<float> logits;
  Choice choice;
  executor_.run({}, [&](OpContext& ctx) {
    Workspace::Scope scope(ctx.workspace);
    const Tensor out = model_.forward(ctx, batch);
    if (choose == nullptr) return;
    logits = values_of(out);
    choice = (*choose)(logits);
    const std::array tokens{choice.token};
    const std::array<uint8_t, 1> ends{static_cast<uint8_t>(choice.ends)};
    const std::array<const SamplingParams*, 1> params{&params_};
    const std::array<uint64_t, 1> seeds{0};
    model_.after_sample(ctx, batch, {tokens, ends, params, seeds});
  });
  length_ += count;
  if (choose != nullptr && !choice.ends) generated_.push_back(choice.token);
  return logits;
}

int32_t choose_greedy(std::span<const float> logits, std::span<const int32_t> seen, float penalty,
                      std::span<const int32_t> suppressed) {
  std::vector<float> scores(logits.begin(), logits.end());
  std::vector<int32_t> once(seen.begin(), seen.end());
  std::ranges::sort(once);
  once.erase(std::ranges::unique(once).begin(), once.end());
  for (int32_t id : once) scores[id] = scores[id] < 0 ? scores[id] * penalty : scores[id] / penalty;
  for (int32_t id : suppressed) scores[id] = -INFINITY;
  return static_cast<int32_t>(std::ranges::max_element(scores) - scores.begin());
}

}  // namespace tutti::parity
