#include "serve/realtime.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <mutex>

#include "media/data_url.h"
#include "serve/api_error.h"
#include "serve/chat_messages.h"
#include "serve/chat_request.h"
#include "serve/fields.h"
#include "serve/json_text.h"
#include "serve/realtime_conversation.h"
#include "serve/realtime_settings.h"
#include "serve/text_answer.h"
#include "serve/voice_activity.h"

namespace tutti::serve {

namespace json = boost::json;

namespace {

constexpr int64_t kMostBuffered_ms = 120'000;
constexpr int64_t kMostAppendBytes = 15 << 20;
constexpr size_t kMostItems = 1000;
using Clock = std::chrono::steady_clock;

// An answer that is being produced.
struct Response {
  std::string id;
  std::string item_id;
  bool speech = false;
  bool begun = false;
  std::string text;
  int64_t samples = 0;
  int32_t sample_rate = kRealtimeRate;
  std::string cancelled;  // why, when it was: "turn_detected" or "client_cancelled"
};

class Session final : public WebSocketSession, public std::enable_shared_from_this<Session> {
 public:
  Session(const Services& services, std::map<std::string, std::string> trace)
      : services_(services), trace_(std::move(trace)), id_(new_id("sess")), buffer_(kRealtimeRate) {
    settings_.speech = services.model.audio_stage() >= 0;
    restart_detection();
  }

  void on_open(std::shared_ptr<WebSocketPeer> peer) override {
    const std::lock_guard lock(mutex_);
    peer_ = std::move(peer);
    send({{"type", "session.created"}, {"session", settings_.json(id_, services_.model)}});
  }

  void on_text(std::string text) override {
    const std::lock_guard lock(mutex_);
    boost::system::error_code bad;
    json::value value = json::parse(text, bad);
    if (bad || !value.is_object()) {
      return send_error(
          invalid_argument(bad ? fmt::format("The message is no JSON: {}.", bad.message())
                               : "The message must be a JSON object."));
    }
    const json::object& event = value.get_object();
    const json::value* id = event.if_contains("event_id");
    client_event_ = id && id->is_string() ? std::string(id->get_string()) : "";
    const Status status = handle(event);
    if (!status.ok()) send_error(status);
  }

  void on_close() override {
    const std::lock_guard lock(mutex_);
    peer_ = nullptr;
    if (response_) services_.gateway.abort(response_->id);
    for (const std::string& id : transcriptions_) services_.gateway.abort(id);
  }

 private:
  // --- what the client says

  Status handle(const json::object& event) {
    Status error;
    Fields fields(event, "", &error);
    const std::string type = fields.string("type").value_or("");
    fields.accept({"event_id"});
    if (type == "session.update") {
      update_session(fields);
    } else if (type == "input_audio_buffer.append") {
      append_audio(fields);
    } else if (type == "input_audio_buffer.commit") {
      commit_by_client(fields);
    } else if (type == "input_audio_buffer.clear") {
      buffer_.clear();
      restart_detection();
      send({{"type", "input_audio_buffer.cleared"}});
    } else if (type == "conversation.item.create") {
      create_item(fields);
    } else if (type == "conversation.item.truncate") {
      truncate_item(fields);
    } else if (type == "conversation.item.delete") {
      delete_item(fields);
    } else if (type == "conversation.item.retrieve") {
      if (const ConversationItem* item = find_item(fields)) {
        send({{"type", "conversation.item.retrieved"}, {"item", item->json()}});
      }
    } else if (type == "response.create") {
      create_response(fields);
    } else if (type == "response.cancel") {
      fields.accept({"response_id"});
      if (!response_) {
        fields.fail("response_id", "There is no response to cancel.");
      } else {
        cancel("client_cancelled");
      }
    } else {
      fields.fail(
          "type",
          fmt::format("The event type '{}' is unknown; there are: session.update, "
                      "input_audio_buffer.append, .commit, .clear, conversation.item.create, "
                      ".truncate, .delete, .retrieve, response.create, response.cancel.",
                      printable(type)));
    }
    if (error.ok()) fields.finish();
    return error;
  }

  void update_session(Fields& fields) {
    const json::object* session = fields.object("session");
    if (!session) return fields.missing("session", "an object");
    RealtimeSettings changed = settings_;
    changed.update(*session, services_.model, fields.error());
    if (!fields.ok()) return;
    settings_ = std::move(changed);
    restart_detection();
    send({{"type", "session.updated"}, {"session", settings_.json(id_, services_.model)}});
  }

  void append_audio(Fields& fields) {
    const auto audio = fields.string("audio");
    if (!audio) return fields.missing("audio", "base64 of 16-bit samples");
    const auto bytes = decode_data_url("data:;base64," + *audio, kMostAppendBytes);
    if (!bytes) return fields.fail("audio", "`audio` is no base64: " + bytes.error().message());
    if (bytes->size() % 2 != 0)
      return fields.fail("audio", "`audio` has half a sample at its end.");
    std::vector<int16_t> samples(bytes->size() / 2);
    std::memcpy(samples.data(), bytes->data(), bytes->size());
    buffer_.append(samples);
    if (buffer_.ms() > kMostBuffered_ms) {
      buffer_.keep_last(kMostBuffered_ms);
      if (!settings_.turn_detection) {
        return fields.fail("audio",
                           fmt::format("The input buffer holds {} s; its beginning was dropped.",
                                       kMostBuffered_ms / 1000));
      }
    }
    detect(samples);
  }

  void restart_detection() {
    detection_.reset();
    if (settings_.turn_detection) detection_.emplace(kRealtimeRate, *settings_.turn_detection);
    detection_begin_ms_ = buffer_.total_ms();
  }

  void detect(const std::vector<int16_t>& samples) {
    if (!detection_) return;
    std::vector<float> values(samples.size());
    std::transform(samples.begin(), samples.end(), values.begin(),
                   [](int16_t s) { return static_cast<float>(s) / 32768.0f; });
    for (const VoiceActivity::Event& event : detection_->append(values)) {
      const int64_t at_ms = detection_begin_ms_ + event.at_ms;
      if (event.started) {
        speech_started(at_ms);
      } else {
        send({{"type", "input_audio_buffer.speech_stopped"},
              {"audio_end_ms", at_ms},
              {"item_id", turn_id_}});
        commit(turn_id_, turn_begin_ms_);
        if (settings_.create_response) start_response({});
      }
    }
    // Silence is not kept for ever: only what may belong to a beginning.
    if (!detection_->speaking())
      buffer_.keep_last(settings_.turn_detection->prefix_padding_ms + 200);
  }

  void speech_started(int64_t at_ms) {
    turn_id_ = new_id("item");
    turn_begin_ms_ = at_ms;
    send({{"type", "input_audio_buffer.speech_started"},
          {"audio_start_ms", at_ms},
          {"item_id", turn_id_}});
    if (settings_.interrupt_response) interrupt();
  }

  // Barge-in: the answer ends, and of it only what can have been heard stays in the history.
  void interrupt() {
    const Clock::time_point now = Clock::now();
    if (ConversationItem* spoken = conversation_.find(speaking_item_)) {
      const auto since =
          std::chrono::duration_cast<std::chrono::milliseconds>(now - speaking_since_);
      if (since.count() < spoken->audio_ms || response_) spoken->heard_ms = since.count();
    }
    if (response_) cancel("turn_detected");
  }

  void commit_by_client(Fields& fields) {
    constexpr int64_t kLeast_ms = 100;
    if (buffer_.ms() < kLeast_ms) {
      return fields.fail("audio",
                         fmt::format("The input buffer has {} ms of sound; at least {} are needed.",
                                     buffer_.ms(), kLeast_ms));
    }
    commit(new_id("item"), 0);
    restart_detection();
  }

  void commit(const std::string& item_id, int64_t begin_ms) {
    ConversationItem item;
    item.id = item_id;
    item.role = "user";
    item.sound = buffer_.take(begin_ms);
    const auto sound = item.sound;
    const std::string previous = last_item_;
    send({{"type", "input_audio_buffer.committed"},
          {"item_id", item_id},
          {"previous_item_id", or_null(previous)}});
    add_item(std::move(item), "");
    if (settings_.transcribe_input) transcribe(item_id, sound);
  }

  void add_item(ConversationItem item, const std::string& previous) {
    const json::object body = item.json();
    const std::string id = item.id;
    conversation_.insert(std::move(item), previous);
    if (previous.empty()) last_item_ = id;
    const json::value before = or_null(conversation_.before(id));
    send({{"type", "conversation.item.added"}, {"previous_item_id", before}, {"item", body}});
    send({{"type", "conversation.item.done"}, {"previous_item_id", before}, {"item", body}});
  }

  void create_item(Fields& fields) {
    const std::string previous = fields.string("previous_item_id").value_or("");
    const json::object* object = fields.object("item");
    if (!object) return fields.missing("item", "an object");
    if (conversation_.size() >= kMostItems) {
      return fields.fail(
          "item", fmt::format("The conversation has {} items; that is the most.", kMostItems));
    }
    if (!previous.empty() && previous != "root" && !conversation_.find(previous)) {
      return fields.fail("previous_item_id",
                         fmt::format("There is no item '{}'.", printable(previous)));
    }
    Fields item_fields(*object, "item", fields.error());
    const auto type = item_fields.choice("type", {"message"});
    (void)type;
    std::string id = item_fields.string("id").value_or("");
    if (!id.empty() && conversation_.find(id)) {
      return item_fields.fail("id", fmt::format("There is an item '{}' already.", printable(id)));
    }
    // The message of chat completions, but for the fields that only items have.
    json::object message = *object;
    for (const char* name : {"id", "object", "status", "type"}) message.erase(name);
    rename_parts(message);
    const json::object wrapped{{"messages", json::array{std::move(message)}}};
    Fields messages(wrapped, "", fields.error());
    std::vector<ChatMessage> read = read_chat_messages(
        messages, [](const std::string&) { return std::optional<std::string>(); });
    if (!fields.ok()) return;
    ConversationItem item;
    item.id = id.empty() ? new_id("item") : id;
    item.role = read.front().role;
    for (ContentPart& part : read.front().content) {
      item.text += part.text;
      if (!part.media) continue;
      if (part.media->kind != MediaKind::kAudio) {
        item.pictures.push_back(std::move(*part.media));
      } else if (const auto bytes = decode_data_url(part.media->path_or_url, kMostAppendBytes)) {
        item.sound = std::make_shared<const std::vector<std::byte>>(std::move(*bytes));
      }
    }
    add_item(std::move(item), previous);
  }

  // Realtime's input_audio is bare PCM: as a file it can go the way of the others.
  static void rename_parts(json::object& message) {
    json::value* content = message.if_contains("content");
    if (!content || !content->is_array()) return;
    for (json::value& value : content->get_array()) {
      json::object* part = value.if_object();
      const json::value* type = part ? part->if_contains("type") : nullptr;
      const json::value* audio = part ? part->if_contains("audio") : nullptr;
      if (!type || !type->is_string() || type->get_string() != "input_audio" || !audio ||
          !audio->is_string())
        continue;
      const auto pcm =
          decode_data_url("data:;base64," + std::string(audio->get_string()), kMostAppendBytes);
      if (!pcm) continue;
      InputBuffer buffer(kRealtimeRate);
      std::vector<int16_t> samples(pcm->size() / 2);
      std::memcpy(samples.data(), pcm->data(), 2 * samples.size());
      buffer.append(samples);
      std::string base64;
      append_base64(base64, *buffer.take(0));
      *part = json::object{{"type", "input_audio"},
                           {"input_audio", {{"data", base64}, {"format", "wav"}}}};
    }
  }

  ConversationItem* find_item(Fields& fields) {
    const std::string id = fields.string("item_id").value_or("");
    ConversationItem* item = conversation_.find(id);
    if (!item) fields.fail("item_id", fmt::format("There is no item '{}'.", printable(id)));
    return item;
  }

  void truncate_item(Fields& fields) {
    const auto end_ms = fields.integer("audio_end_ms", 0, int64_t{1} << 40);
    (void)fields.integer("content_index", 0, 0);
    ConversationItem* item = find_item(fields);
    if (!item) return;
    if (!end_ms) return fields.missing("audio_end_ms", "the milliseconds that were heard");
    if (item->role != "assistant") {
      return fields.fail("item_id", "Only spoken answers can be truncated.");
    }
    item->heard_ms = *end_ms;
    send({{"type", "conversation.item.truncated"},
          {"item_id", item->id},
          {"content_index", 0},
          {"audio_end_ms", *end_ms}});
  }

  void delete_item(Fields& fields) {
    const ConversationItem* item = find_item(fields);
    if (!item) return;
    const std::string id = item->id;
    conversation_.erase(id);
    send({{"type", "conversation.item.deleted"}, {"item_id", id}});
  }

  // --- answers

  void create_response(Fields& fields) {
    const json::object* object = fields.object("response");
    if (response_) {
      return fields.fail(
          "response",
          fmt::format("The response '{}' is still active; cancel it first.", response_->id));
    }
    RealtimeSettings own = settings_;
    if (object) {
      own.update(*object, services_.model, fields.error());
      if (!fields.ok()) return;
    }
    start_response(own);
  }

  void start_response(std::optional<RealtimeSettings> own) {
    if (response_) return;
    const RealtimeSettings& settings = own ? *own : settings_;
    response_.emplace();
    response_->id = new_id("resp");
    response_->item_id = new_id("item");
    response_->speech = settings.speech;
    AddRequest request = to_request(settings);
    send({{"type", "response.created"}, {"response", response_json("in_progress")}});
    const auto weak = weak_from_this();
    const std::string id = response_->id;
    services_.gateway.submit(std::move(request),
                             std::make_shared<TextAnswer>(
                                 services_,
                                 [weak, id](const OutputMessage& message) {
                                   if (auto self = weak.lock()) self->delta(id, message);
                                 },
                                 [weak, id](const Status& status, const Answer& answer) {
                                   if (auto self = weak.lock()) self->done(id, status, answer);
                                 }));
  }

  AddRequest to_request(const RealtimeSettings& settings) {
    AddRequest request;
    request.request_id = response_->id;
    ChatPrompt prompt;
    prompt.messages = conversation_.messages(settings.instructions);
    request.prompt = std::move(prompt);
    request.voice = settings.speech ? settings.voice : "";
    request.trace_headers = trace_;
    request.final_output_stage_ids = {services_.model.text_stage()};
    if (settings.speech) request.final_output_stage_ids.push_back(services_.model.audio_stage());
    request.sampling_params_list = services_.model.engine().default_sampling_params_list();
    SamplingParams& text = request.sampling_params_list.front();
    if (settings.temperature) text.temperature = static_cast<float>(*settings.temperature);
    if (settings.max_output_tokens) text.max_tokens = *settings.max_output_tokens;
    return request;
  }

  json::object response_json(const char* status) const {
    return {{"object", "realtime.response"},
            {"id", response_->id},
            {"status", status},
            {"status_details", nullptr},
            {"output", json::array()},
            {"output_modalities", json::array{response_->speech ? "audio" : "text"}}};
  }

  json::object part_json(const std::string& text) const {
    return response_->speech ? json::object{{"type", "output_audio"}, {"transcript", text}}
                             : json::object{{"type", "output_text"}, {"text", text}};
  }

  json::object at_part(const char* type) const {
    return {{"type", type},
            {"response_id", response_->id},
            {"item_id", response_->item_id},
            {"output_index", 0},
            {"content_index", 0}};
  }

  json::object at_item(const char* type, json::object item) const {
    return {{"type", type},
            {"response_id", response_->id},
            {"output_index", 0},
            {"item", std::move(item)}};
  }

  void begin_item() {
    if (std::exchange(response_->begun, true)) return;
    ConversationItem item;
    item.id = response_->item_id;
    item.role = "assistant";
    item.complete = false;
    send(at_item("response.output_item.added", item.json()));
    send({{"type", "conversation.item.added"},
          {"previous_item_id", or_null(last_item_)},
          {"item", item.json()}});
    conversation_.insert(std::move(item), "");
    last_item_ = response_->item_id;
    json::object event = at_part("response.content_part.added");
    event["part"] = part_json("");
    send(std::move(event));
  }

  void delta(const std::string& id, const OutputMessage& message) {
    const std::lock_guard lock(mutex_);
    if (!response_ || response_->id != id || !response_->cancelled.empty()) return;
    const StageOutputDelta& output = message.output;
    if (!output.text.empty()) {
      begin_item();
      response_->text += output.text;
      send_text_delta(output.text);
    }
    if (!output.audio.samples.empty()) {
      begin_item();
      send_audio_delta(output.audio);
    }
    if (ConversationItem* item = conversation_.find(response_->item_id)) {
      item->text = response_->text;
      item->audio_ms = 1000 * response_->samples / response_->sample_rate;
    }
  }

  void send_text_delta(const std::string& text) {
    json::object event = at_part(response_->speech ? "response.output_audio_transcript.delta"
                                                   : "response.output_text.delta");
    std::string quoted;
    append_json_string(quoted, text);
    event["delta"] = json::parse(quoted);
    send(std::move(event));
  }

  void send_audio_delta(const AudioChunk& audio) {
    if (response_->samples == 0) {
      speaking_since_ = Clock::now();
      speaking_item_ = response_->item_id;
    }
    response_->samples += static_cast<int64_t>(audio.samples.size());
    response_->sample_rate = audio.sample_rate;
    const std::string pcm = pcm16(audio.samples);
    json::object event = at_part("response.output_audio.delta");
    std::string base64;
    append_base64(base64, std::as_bytes(std::span(pcm)));
    event["delta"] = std::move(base64);
    send(std::move(event));
  }

  void cancel(const char* why) {
    if (!response_->cancelled.empty()) return;
    response_->cancelled = why;
    services_.gateway.abort(response_->id);
    // The next turn must not wait for the engine to let go.
    finish_response("cancelled", nullptr, {});
  }

  void done(const std::string& id, const Status& status, const Answer& answer) {
    const std::lock_guard lock(mutex_);
    if (!response_ || response_->id != id) return;
    if (!status.ok()) {
      finish_response("failed", nullptr, status);
    } else {
      begin_item();
      finish_response(answer.finish_reason == FinishReason::kLength ? "incomplete" : "completed",
                      &answer, {});
    }
  }

  void finish_response(const char* outcome, const Answer* answer, const Status& error) {
    json::object body = response_json(outcome);
    if (response_->begun) {
      close_item(outcome);
      body["output"] = json::array{conversation_.find(response_->item_id)
                                       ? conversation_.find(response_->item_id)->json()
                                       : json::object()};
    }
    if (!response_->cancelled.empty()) {
      body["status_details"] =
          json::object{{"type", "cancelled"}, {"reason", response_->cancelled}};
    }
    if (!error.ok()) {
      body["status_details"] = json::object{
          {"type", "failed"},
          {"error", {{"type", error_type(error.code())}, {"message", error.message()}}}};
    }
    if (answer) {
      Usage usage;
      usage.add(*answer, services_.model);
      body["usage"] = json::object{
          {"input_tokens", usage.prompt_tokens},
          {"output_tokens", usage.completion_tokens + usage.audio_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens + usage.audio_tokens}};
      body["stage_metrics"] = stage_metrics_json(*answer, services_.model);
    }
    response_.reset();
    send({{"type", "response.done"}, {"response", std::move(body)}});
  }

  void close_item(const char* outcome) {
    ConversationItem* item = conversation_.find(response_->item_id);
    if (item) item->complete = std::string_view(outcome) == "completed";
    if (response_->speech) {
      send(at_part("response.output_audio.done"));
      json::object event = at_part("response.output_audio_transcript.done");
      event["transcript"] = response_->text;
      send(std::move(event));
    } else {
      json::object event = at_part("response.output_text.done");
      event["text"] = response_->text;
      send(std::move(event));
    }
    json::object event = at_part("response.content_part.done");
    event["part"] = part_json(response_->text);
    send(std::move(event));
    if (item) send(at_item("response.output_item.done", item->json()));
  }

  // --- what the user said, in words, for the page

  void transcribe(const std::string& item_id, std::shared_ptr<const std::vector<std::byte>> sound) {
    AddRequest request;
    request.request_id = new_id("transcription");
    ChatMessage question;
    question.role = "user";
    MediaItem audio;
    audio.kind = MediaKind::kAudio;
    audio.bytes = std::move(sound);
    question.content.push_back({"", std::move(audio)});
    question.content.push_back({"Transcribe the audio.", std::nullopt});
    ChatPrompt prompt;
    prompt.messages.push_back(std::move(question));
    request.prompt = std::move(prompt);
    request.final_output_stage_ids = {services_.model.text_stage()};
    transcriptions_.insert(request.request_id);
    services_.gateway.submit(
        std::move(request),
        std::make_shared<TextAnswer>(services_, nullptr,
                                     [weak = weak_from_this(), item_id, id = request.request_id](
                                         const Status& status, const Answer& answer) {
                                       if (auto self = weak.lock())
                                         self->transcribed(item_id, id, status, answer);
                                     }));
  }

  void transcribed(const std::string& item_id, const std::string& id, const Status& status,
                   const Answer& answer) {
    const std::lock_guard lock(mutex_);
    transcriptions_.erase(id);
    ConversationItem* item = conversation_.find(item_id);
    if (!item || !status.ok()) return;
    item->text = answer.text;
    send({{"type", "conversation.item.input_audio_transcription.completed"},
          {"item_id", item_id},
          {"content_index", 0},
          {"transcript", answer.text}});
  }

  // --- what the server says

  static json::value or_null(const std::string& id) {
    return id.empty() ? json::value(nullptr) : json::value(id);
  }

  void send(json::object event) {
    if (!peer_) return;
    event["event_id"] = fmt::format("event_{}", next_event_++);
    peer_->send(json::serialize(event));
  }

  void send_error(const Status& status) {
    json::object error{
        {"type", error_type(status.code())},
        {"code", nullptr},
        {"message", status.message()},
        {"param", status.param().empty() ? json::value(nullptr) : json::value(status.param())},
        {"event_id", or_null(client_event_)}};
    send({{"type", "error"}, {"error", std::move(error)}});
  }

  const Services& services_;
  const std::map<std::string, std::string> trace_;
  const std::string id_;
  std::recursive_mutex mutex_;  // a refused request is reported from within its submission
  std::shared_ptr<WebSocketPeer> peer_;
  RealtimeSettings settings_;
  Conversation conversation_;
  InputBuffer buffer_;
  std::optional<VoiceActivity> detection_;
  int64_t detection_begin_ms_ = 0;
  std::string turn_id_;
  int64_t turn_begin_ms_ = 0;
  std::optional<Response> response_;
  std::string speaking_item_;  // whose sound is being played, as far as the server can know
  Clock::time_point speaking_since_;
  std::string last_item_;
  std::set<std::string> transcriptions_;
  std::string client_event_;
  int64_t next_event_ = 1;
};

}  // namespace

WebSocketAcceptor realtime_acceptor(const Services& services) {
  return [&services](const HttpRequest& request)
             -> std::variant<std::shared_ptr<WebSocketSession>, WebSocketRefusal> {
    if (const auto model = request.query_value("model")) {
      const Status known = services.model.check_model(*model);
      if (!known.ok()) return WebSocketRefusal{error_response(known)};
    }
    return std::make_shared<Session>(services, trace_headers(request));
  };
}

}  // namespace tutti::serve
