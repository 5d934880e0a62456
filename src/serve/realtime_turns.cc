#include "serve/realtime_turns.h"

#include <fmt/format.h>

#include <algorithm>

#include "serve/gateway.h"
#include "serve/realtime_items.h"

namespace tutti::serve {

namespace json = boost::json;

namespace {

constexpr int64_t kMostBuffered_ms = 120'000;
constexpr int64_t kLeastTurn_ms = 100;

}  // namespace

RealtimeTurns::RealtimeTurns(RealtimeContext& context, RealtimeAnswers& answers,
                             RealtimeTranscription& transcription)
    : context_(context), answers_(answers), transcription_(transcription), buffer_(kRealtimeRate) {
  restart_detection();
}

void RealtimeTurns::append(Fields& fields) {
  const auto samples = read_pcm16(fields, "audio");
  if (!samples) return;
  buffer_.append(*samples);
  if (buffer_.ms() > kMostBuffered_ms) {
    buffer_.keep_last(kMostBuffered_ms);
    if (!detection_) {
      return fields.fail("audio",
                         fmt::format("The input buffer holds {} s; its beginning was dropped.",
                                     kMostBuffered_ms / 1000));
    }
  }
  if (detection_) detect(*samples);
}

void RealtimeTurns::clear() {
  buffer_.clear();
  restart_detection();
  context_.events.send({{"type", "input_audio_buffer.cleared"}});
}

void RealtimeTurns::restart_detection() {
  detection_.reset();
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
  // Silence is not kept for ever: only what may belong to a beginning.
  if (!detection_->speaking())
    buffer_.keep_last(context_.settings.turn_detection->prefix_padding_ms + 200);
}

void RealtimeTurns::speech_started(int64_t at_ms) {
  turn_id_ = new_id("item");
  turn_begin_ms_ = at_ms;
  context_.events.send({{"type", "input_audio_buffer.speech_started"},
                        {"audio_start_ms", at_ms},
                        {"item_id", turn_id_}});
  if (context_.settings.interrupt_response) answers_.interrupt();
}

void RealtimeTurns::speech_stopped(int64_t at_ms) {
  context_.events.send({{"type", "input_audio_buffer.speech_stopped"},
                        {"audio_end_ms", at_ms},
                        {"item_id", turn_id_}});
  commit(turn_id_, turn_begin_ms_);
  if (context_.settings.create_response) answers_.start(context_.settings);
}

void RealtimeTurns::commit_by_client(Fields& fields) {
  if (buffer_.ms() < kLeastTurn_ms) {
    return fields.fail("audio",
                       fmt::format("The input buffer has {} ms of sound; at least {} are needed.",
                                   buffer_.ms(), kLeastTurn_ms));
  }
  commit(new_id("item"), 0);
  restart_detection();
}

void RealtimeTurns::commit(const std::string& item_id, int64_t begin_ms) {
  ConversationItem item;
  item.id = item_id;
  item.role = "user";
  item.sound = buffer_.take(begin_ms);
  const auto sound = item.sound;
  context_.events.send({{"type", "input_audio_buffer.committed"},
                        {"item_id", item_id},
                        {"previous_item_id", or_null(context_.conversation.last())}});
  add_item(context_, std::move(item), "");
  if (context_.settings.transcribe_input) transcription_.begin(item_id, sound);
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
