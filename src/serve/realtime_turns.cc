#include "serve/realtime_turns.h"

#include <fmt/format.h>

#include <algorithm>

#include "serve/gateway.h"

namespace tutti::serve {

namespace json = boost::json;

namespace {

constexpr int64_t kMostTurn_ms = 120'000;
constexpr int64_t kLeastTurn_ms = 100;
// What is left of a turn when a window of it is handed on: its last part is not tiny.
constexpr int64_t kLeastRest_ms = 2000;

}  // namespace

RealtimeTurns::RealtimeTurns(RealtimeContext& context, RealtimePrompt& prompt,
                             RealtimeAnswers& answers, RealtimeTranscription& transcription)
    : context_(context),
      prompt_(prompt),
      answers_(answers),
      transcription_(transcription),
      buffer_(kRealtimeRate) {
  restart_detection();
}

RealtimeError RealtimeTurns::append(const std::vector<int16_t>& samples) {
  if (!detection_ && buffer_.ms() >= kMostTurn_ms) {
    return {invalid_argument(fmt::format("The input buffer has {} s of sound, which is the most; "
                                         "commit or clear it.",
                                         kMostTurn_ms / 1000))
                .with_param("audio"),
            "input_audio_buffer_full"};
  }
  buffer_.append(samples);
  if (detection_) {
    detect(samples);
  } else if (!turn_) {
    begin_turn(buffer_.first_ms());
  }
  stream();
  return {};
}

void RealtimeTurns::clear() {
  buffer_.clear();
  prompt_.drop();
  restart_detection();
  context_.events.send({{"type", "input_audio_buffer.cleared"}});
}

void RealtimeTurns::restart_detection() {
  detection_.reset();
  turn_.reset();
  const auto& wanted = context_.settings.turn_detection;
  if (wanted) detection_.emplace(kRealtimeRate, *wanted);
  detection_begin_ms_ = buffer_.total_ms();
}

void RealtimeTurns::detect(const std::vector<int16_t>& samples) {
  std::vector<float> values(samples.size());
  std::transform(samples.begin(), samples.end(), values.begin(),
                 [](int16_t s) { return static_cast<float>(s) / 32768.0f; });
  for (const VoiceActivity::Event& event : detection_->append(values)) {
    const int64_t at_ms = detection_begin_ms_ + event.at_ms;
    event.started ? speech_started(at_ms) : speech_stopped(at_ms);
  }
  if (detection_->speaking() && buffer_.total_ms() - turn_->begin_ms >= kMostTurn_ms) {
    speech_stopped(buffer_.total_ms());
    return restart_detection();
  }
  // Silence is not kept for ever: only what may belong to a beginning.
  if (!detection_->speaking())
    buffer_.keep_last(context_.settings.turn_detection->prefix_padding_ms + 200);
}

void RealtimeTurns::speech_started(int64_t at_ms) {
  begin_turn(at_ms);
  context_.events.send({{"type", "input_audio_buffer.speech_started"},
                        {"audio_start_ms", at_ms},
                        {"item_id", turn_->item_id}});
  if (context_.settings.interrupt_response) answers_.interrupt();
}

void RealtimeTurns::speech_stopped(int64_t at_ms) {
  const std::string id = turn_->item_id;
  context_.events.send(
      {{"type", "input_audio_buffer.speech_stopped"}, {"audio_end_ms", at_ms}, {"item_id", id}});
  if (const Status committed = commit(); !committed.ok()) {
    context_.events.error({committed, "conversation_full"});
    buffer_.clear();
    turn_.reset();
    return prompt_.drop();
  }
  if (context_.settings.create_response) answers_.answer_turn();
}

void RealtimeTurns::begin_turn(int64_t at_ms) {
  turn_.emplace();
  turn_->item_id = new_id("item");
  turn_->begin_ms = turn_->streamed_ms = std::max(at_ms, buffer_.first_ms());
}

void RealtimeTurns::stream() {
  const int64_t window_ms = context_.services.realtime_window_ms;
  // A running answer is still to become a part of the prompt.
  const bool answer_follows = !detection_ || context_.settings.create_response;
  if (!turn_ || window_ms == 0 || answers_.active() || !answer_follows) return;
  if (!std::exchange(turn_->prompt_begun, true)) prompt_.begin();
  while (buffer_.total_ms() - turn_->streamed_ms >= window_ms + kLeastRest_ms) {
    const int64_t end_ms = turn_->streamed_ms + window_ms;
    turn_->parts.push_back(buffer_.file(turn_->streamed_ms, end_ms));
    turn_->streamed_ms = end_ms;
    prompt_.append(turn_->parts.back());
  }
}

RealtimeError RealtimeTurns::commit_by_client() {
  if (buffer_.ms() < kLeastTurn_ms) {
    return {invalid_argument(fmt::format(
                "The input buffer has {} ms of sound; at least {} are needed to commit it.",
                buffer_.ms(), kLeastTurn_ms)),
            "input_audio_buffer_commit_empty"};
  }
  if (!turn_) begin_turn(buffer_.first_ms());
  if (Status committed = commit(); !committed.ok()) return {committed, "conversation_full"};
  restart_detection();
  return {};
}

Status RealtimeTurns::commit() {
  const int64_t end_ms = buffer_.total_ms();
  const std::string item_id = turn_->item_id;
  ItemPart part;
  part.spoken = true;
  part.sounds = turn_->parts;
  part.sounds.push_back(buffer_.file(turn_->streamed_ms, end_ms));
  const Sound whole =
      part.sounds.size() == 1 ? part.sounds.front() : buffer_.file(turn_->begin_ms, end_ms);
  ConversationItem item;
  item.id = item_id;
  item.role = "user";
  item.content.push_back(std::move(part));
  TUTTI_RETURN_IF_ERROR(context_.conversation.room_for(item.bytes()));
  buffer_.clear();
  turn_.reset();
  context_.events.send({{"type", "input_audio_buffer.committed"},
                        {"item_id", item_id},
                        {"previous_item_id", or_null(context_.conversation.last())}});
  add_item(context_, std::move(item), "");
  if (context_.settings.transcribe_input) transcription_.begin(item_id, whole);
  return {};
}

void add_item(RealtimeContext& context, ConversationItem item, const std::string& previous_id) {
  const json::object body = item.json();
  const std::string id = item.id;
  context.conversation.insert(std::move(item), previous_id);
  const json::value before = or_null(context.conversation.before(id));
  for (const char* type : {"conversation.item.added", "conversation.item.done"})
    context.events.send({{"type", type}, {"previous_item_id", before}, {"item", body}});
}

}  // namespace tutti::serve
