#include "stages/wire_messages.h"

namespace tutti {

template <>
inline constexpr FinishReason kWireLast<FinishReason> = FinishReason::kError;
template <>
RpcEvent wire_blank<RpcEvent>() {
  return {.ticket = 0, .result_json = std::string()};
}

// --- structs of other rooms, member by member

template <typename Archive>
void describe(Archive& ar, SamplingParams& s) {
  auto& [temperature, top_k, top_p, min_p, repetition_penalty, frequency_penalty, presence_penalty,
         seed, max_tokens, min_tokens, ignore_eos, stop_token_ids, stop, include_stop_str_in_output,
         skip_special_tokens, logprobs, logit_bias, forced_token_ids] = s;
  ar(temperature, top_k, top_p, min_p, repetition_penalty, frequency_penalty, presence_penalty,
     seed, max_tokens, min_tokens, ignore_eos, stop_token_ids, stop, include_stop_str_in_output,
     skip_special_tokens, logprobs, logit_bias, forced_token_ids);
}

template <typename Archive>
void describe(Archive& ar, StagePayload& p) {
  auto& [token_ids, tensors] = p;
  ar(token_ids, tensors);
}

template <typename Archive>
void describe(Archive& ar, StageInput& i) {
  auto& [payload, last, voice, num_new_tokens_hint, resumable] = i;
  ar(payload, last, voice, num_new_tokens_hint, resumable);
}

template <typename Archive>
void describe(Archive& ar, StageRequest& r) {
  auto& [key, request_id, input, sampling_params, seed, priority, streams_payload, wants_payload,
         lora_name, lora_path, reasoning_ended, segment, transfer_s] = r;
  ar(key, request_id, input, sampling_params, seed, priority, streams_payload, wants_payload,
     lora_name, lora_path, reasoning_ended, segment, transfer_s);
}

template <typename Archive>
void describe(Archive& ar, StageSegment& s) {
  auto& [key, input, sampling_params, seed, segment] = s;
  ar(key, input, sampling_params, seed, segment);
}

template <typename Archive>
void describe(Archive& ar, UpstreamChunk& c) {
  auto& [from_stage, payload, last, companion_role, sent] = c;
  ar(from_stage, payload, last, companion_role, sent);
}

template <typename Archive>
void describe(Archive& ar, TokenLogprob& t) {
  auto& [token_id, logprob, rank] = t;
  ar(token_id, logprob, rank);
}

template <typename Archive>
void describe(Archive& ar, AudioChunk& a) {
  auto& [samples, sample_rate] = a;
  ar(samples, sample_rate);
}

template <typename Archive>
void describe(Archive& ar, StageOutputDelta& d) {
  auto& [text, token_ids, logprobs, audio, finish_reason, stop_reason] = d;
  ar(text, token_ids, logprobs, audio, finish_reason, stop_reason);
}

template <typename Archive>
void describe(Archive& ar, StageMetrics& m) {
  auto& [submitted_s, first_scheduled_s, first_output_s, finished_s, compute_s, prompt_tokens,
         cached_tokens, output_tokens, preemptions, transfer_s, first_audio_s, audio_s,
         underrun_s] = m;
  ar(submitted_s, first_scheduled_s, first_output_s, finished_s, compute_s, prompt_tokens,
     cached_tokens, output_tokens, preemptions, transfer_s, first_audio_s, audio_s, underrun_s);
}

template <typename Archive>
void describe(Archive& ar, StageOutput& o) {
  auto& [key, payload, delta, finished, segment_finished, segment, error, metrics] = o;
  ar(key, payload, delta, finished, segment_finished, segment, error, metrics);
}

template <typename Archive>
void describe(Archive& ar, EngineStats& s) {
  auto& [waiting, running, blocked, kv_blocks_total, kv_blocks_used, preemptions,
         prefix_query_tokens, prefix_hit_tokens, steps, busy_s] = s;
  ar(waiting, running, blocked, kv_blocks_total, kv_blocks_used, preemptions, prefix_query_tokens,
     prefix_hit_tokens, steps, busy_s);
}

// --- commands

template <typename Archive>
void describe(Archive& ar, SubmitCommand& c) {
  auto& [request, chunks, complete] = c;
  ar(request, chunks, complete);
}
template <typename Archive>
void describe(Archive& ar, ChunkCommand& c) {
  auto& [key, chunk, complete] = c;
  ar(key, chunk, complete);
}
template <typename Archive>
void describe(Archive& ar, SegmentCommand& c) {
  auto& [segment] = c;
  ar(segment);
}
template <typename Archive>
void describe(Archive& ar, AbortCommand& c) {
  auto& [key] = c;
  ar(key);
}
template <typename Archive>
void describe(Archive& ar, RpcCommand& c) {
  auto& [ticket, method, args_json] = c;
  ar(ticket, method, args_json);
}

// --- events

template <typename Archive>
void describe(Archive&, ReadyEvent&) {}
template <typename Archive>
void describe(Archive&, RoomEvent&) {}
template <typename Archive>
void describe(Archive& ar, DiedEvent& e) {
  auto& [cause] = e;
  ar(cause);
}
template <typename Archive>
void describe(Archive& ar, OutputsEvent& e) {
  auto& [outputs] = e;
  ar(outputs);
}
template <typename Archive>
void describe(Archive& ar, AbortedEvent& e) {
  auto& [key, held] = e;
  ar(key, held);
}
template <typename Archive>
void describe(Archive& ar, RpcEvent& e) {
  auto& [ticket, result_json] = e;
  ar(ticket, result_json);
}

// --- the worker's own messages

template <typename Archive>
void describe(Archive& ar, WorkerHello& m) {
  auto& [stage, replica, load_spec] = m;
  ar(stage, replica, load_spec);
}
template <typename Archive>
void describe(Archive& ar, WorkerAccepted& m) {
  auto& [process] = m;
  ar(process);
}
template <typename Archive>
void describe(Archive& ar, WorkerProgress& m) {
  auto& [fraction, what] = m;
  ar(fraction, what);
}
template <typename Archive>
void describe(Archive& ar, WorkerLoaded& m) {
  auto& [max_prompt_tokens, stats] = m;
  ar(max_prompt_tokens, stats);
}
template <typename Archive>
void describe(Archive& ar, WorkerReport& m) {
  auto& [stats, events] = m;
  ar(stats, events);
}

namespace {

template <typename Message>
Result<Message> decode(std::span<const std::byte> meta, std::shared_ptr<Storage> body) {
  WireReader reader(meta, std::move(body));
  Message message;
  reader(message);
  TUTTI_RETURN_IF_ERROR(reader.finish());
  return message;
}

size_t tensor_bytes(const StagePayload& payload) {
  size_t bytes = 0;
  for (const auto& [name, tensor] : payload.tensors) bytes += tensor.bytes();
  return bytes;
}

}  // namespace

// Writing only reads: a describe() serves both ways and so takes everything as changeable.
void encode(WireWriter& writer, const ToWorker& message) { writer(const_cast<ToWorker&>(message)); }

void encode(WireWriter& writer, const StageCommand& command) {
  uint8_t alternative = 1;
  writer(alternative, const_cast<StageCommand&>(command));
}

void encode(WireWriter& writer, const FromWorker& message) {
  writer(const_cast<FromWorker&>(message));
}

Result<ToWorker> decode_to_worker(std::span<const std::byte> meta, std::shared_ptr<Storage> body) {
  return decode<ToWorker>(meta, std::move(body));
}

Result<FromWorker> decode_from_worker(std::span<const std::byte> meta,
                                      std::shared_ptr<Storage> body) {
  return decode<FromWorker>(meta, std::move(body));
}

size_t tensor_bytes(const StageCommand& command) {
  size_t bytes = 0;
  if (const auto* submit = std::get_if<SubmitCommand>(&command)) {
    bytes = tensor_bytes(submit->request->input.payload);
    for (const UpstreamChunk& chunk : submit->chunks) bytes += tensor_bytes(chunk.payload);
  } else if (const auto* chunk = std::get_if<ChunkCommand>(&command)) {
    bytes = tensor_bytes(chunk->chunk.payload);
  } else if (const auto* segment = std::get_if<SegmentCommand>(&command)) {
    bytes = tensor_bytes(segment->segment.input.payload);
  }
  return bytes;
}

std::optional<RequestKey> key_of(const StageCommand& command) {
  if (const auto* submit = std::get_if<SubmitCommand>(&command)) return submit->request->key;
  if (const auto* chunk = std::get_if<ChunkCommand>(&command)) return chunk->key;
  if (const auto* segment = std::get_if<SegmentCommand>(&command)) return segment->segment.key;
  if (const auto* abort = std::get_if<AbortCommand>(&command)) return abort->key;
  return std::nullopt;
}

}  // namespace tutti
