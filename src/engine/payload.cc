#include "engine/payload.h"

#include <cstring>
#include <iterator>
#include <utility>

namespace tutti {

namespace {

template <typename T>
void append_all(std::vector<T>& whole, std::vector<T> more) {
  whole.insert(whole.end(), std::make_move_iterator(more.begin()),
               std::make_move_iterator(more.end()));
}

Tensor join_rows(const std::vector<Tensor>& parts) {
  if (parts.size() == 1) return parts.front();
  Shape shape = parts.front().shape();
  int64_t rows = 0;
  for (const Tensor& part : parts) rows += part.dim(0);
  shape.set_dim(0, rows);
  Tensor out = Tensor::empty(shape, parts.front().dtype());
  auto* to = static_cast<std::byte*>(out.raw_data());
  for (const Tensor& part : parts) {
    const Tensor whole = part.is_contiguous() ? part : part.clone();
    TUTTI_CHECK(to + whole.bytes() <= static_cast<std::byte*>(out.raw_data()) + out.bytes() &&
                    whole.dtype() == out.dtype(),
                "tensors of one name must agree in all but their first dimension");
    std::memcpy(to, whole.raw_data(), whole.bytes());
    to += whole.bytes();
  }
  return out;
}

}  // namespace

void HeldOutput::add(StageOutput output) {
  is_empty_ = false;
  if (!output.payload.empty()) payloads_.push_back(std::move(output.payload));
  append_all(whole_.delta.token_ids, std::move(output.delta.token_ids));
  append_all(whole_.delta.logprobs, std::move(output.delta.logprobs));
  append_all(whole_.delta.audio.samples, std::move(output.delta.audio.samples));
  whole_.delta.audio.sample_rate = output.delta.audio.sample_rate;
  whole_.delta.text += output.delta.text;
  whole_.delta.finish_reason = output.delta.finish_reason;
  whole_.delta.stop_reason = std::move(output.delta.stop_reason);
  whole_.key = output.key;
  whole_.finished = output.finished;
  whole_.segment_finished = output.segment_finished;
  whole_.error = std::move(output.error);
}

StageOutput HeldOutput::take() {
  whole_.payload = join_payloads(std::move(payloads_));
  payloads_.clear();
  is_empty_ = true;
  return std::exchange(whole_, {});
}

StagePayload join_payloads(std::vector<StagePayload> payloads) {
  StagePayload whole;
  std::map<std::string, std::vector<Tensor>> parts;
  for (StagePayload& payload : payloads) {
    append_all(whole.token_ids, std::move(payload.token_ids));
    for (auto& [name, tensor] : payload.tensors) parts[name].push_back(std::move(tensor));
  }
  for (const auto& [name, tensors] : parts) whole.tensors.emplace(name, join_rows(tensors));
  return whole;
}

}  // namespace tutti
