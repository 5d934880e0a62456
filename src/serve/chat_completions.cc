#include "serve/chat_completions.h"

#include <fmt/format.h>

#include <ctime>
#include <mutex>

#include "serve/answer.h"
#include "serve/api_error.h"
#include "serve/api_key.h"
#include "serve/chat_logprobs.h"
#include "serve/chat_request.h"
#include "serve/json_text.h"
#include "serve/stage_metrics_pace.h"

namespace tutti::serve {

namespace json = boost::json;

namespace {

// What all choices of one call share. Sinks come from the gateway's thread, and from the engine's
// threads when a request is refused.
class ChatRun : public std::enable_shared_from_this<ChatRun> {
 public:
  ChatRun(const Services& services, ChatRequest chat, std::string id)
      : services_(services),
        chat_(std::move(chat)),
        id_(std::move(id)),
        created_(std::time(nullptr)),
        answers_(static_cast<size_t>(chat_.n)),
        open_(chat_.n) {}
  virtual ~ChatRun() = default;

  void submit();
  void abort_all() {
    for (int32_t i = 0; i < chat_.n; ++i) services_.gateway.abort(choice_id(i));
  }

  void output(int32_t index, const OutputMessage& message) {
    std::unique_lock lock(mutex_);
    services_.metrics.count_output(message, answers_[index]);
    answers_[index].add(message, /*keep_samples=*/!chat_.stream);
    if (failed_) return;
    on_delta(index, message);
    if (!message.finished) return on_stage_news(index, message.stage_id);
    if (const Status said = check_said(); !said.ok()) {
      lock.unlock();
      return error(index, said);
    }
    end_choice(index);
  }
  void stage_metrics(int32_t index, const StageMetricsMessage& message) {
    const std::lock_guard lock(mutex_);
    answers_[index].add(message);
    if (!failed_) on_stage_news(index, message.stage_id);
  }
  void error(int32_t index, const Status& status) {
    {
      const std::lock_guard lock(mutex_);
      services_.metrics.count(answers_[index], "error");
      if (std::exchange(failed_, true)) return;
      on_failure(about_field(status, "messages", 0));
    }
    abort_all();
  }

 protected:
  virtual void on_delta(int32_t index, const OutputMessage& message) = 0;
  virtual void on_stage_news(int32_t, int32_t) {}
  virtual void on_choice_end(int32_t index) = 0;
  virtual void on_end() = 0;
  virtual void on_failure(const Status& status) = 0;

  std::string choice_id(int32_t index) const {
    return chat_.n == 1 ? id_ : fmt::format("{}-{}", id_, index);
  }
  std::string audio_id(int32_t index) const { return "audio-" + choice_id(index); }
  int32_t top_n() const { return chat_.request.sampling_params_list.front().logprobs.value_or(0); }
  Usage usage() const {
    Usage usage;
    for (const Answer& answer : answers_) usage.add(answer, services_.model);
    return usage;
  }

  const Services services_;
  const ChatRequest chat_;
  const std::string id_;
  const std::time_t created_;
  std::mutex mutex_;
  std::vector<Answer> answers_;

 private:
  // With the last choice. What goes on with a message may find that it was whole.
  Status check_said() const {
    const auto& prompt = std::get<ChatPrompt>(chat_.request.prompt);
    if (open_ > 1 || prompt.continue_final_message) return {};
    const auto said = [](const Answer& answer) { return check_not_empty(answer).ok(); };
    return std::ranges::any_of(answers_, said) ? Status() : check_not_empty(answers_.front());
  }
  void end_choice(int32_t index) {
    Answer& answer = answers_[index];
    services_.metrics.count(answer, finish_reason_text(answer.finish_reason));
    if (chat_.speech) services_.transcripts.put(audio_id(index), answer.text);
    on_choice_end(index);
    if (--open_ == 0) on_end();
  }

  int32_t open_;
  bool failed_ = false;
};

class ChoiceSink final : public RequestSink {
 public:
  ChoiceSink(std::shared_ptr<ChatRun> run, int32_t index) : run_(std::move(run)), index_(index) {}
  void on_output(const OutputMessage& message) override { run_->output(index_, message); }
  void on_stage_metrics(const StageMetricsMessage& m) override { run_->stage_metrics(index_, m); }
  void on_error(const Status& error) override { run_->error(index_, error); }

 private:
  const std::shared_ptr<ChatRun> run_;
  const int32_t index_;
};

void ChatRun::submit() {
  for (int32_t i = 0; i < chat_.n; ++i) {
    AddRequest request = chat_.request;
    request.request_id = choice_id(i);
    // Choices of one seed differ, and yet the call repeats.
    for (SamplingParams& params : request.sampling_params_list) {
      if (params.seed) *params.seed += static_cast<uint64_t>(i);
    }
    services_.gateway.submit(std::move(request),
                             std::make_shared<ChoiceSink>(shared_from_this(), i));
  }
}

// --- one message at the end

class WholeChat final : public ChatRun {
 public:
  WholeChat(const Services& services, ChatRequest chat, std::string id, HttpReplyPtr reply)
      : ChatRun(services, std::move(chat), std::move(id)), reply_(std::move(reply)) {}

  void watch() {
    reply_->on_disconnect([weak = weak_from_this()] {
      if (auto self = weak.lock()) self->abort_all();
    });
  }

 private:
  void on_delta(int32_t, const OutputMessage&) override {}
  void on_choice_end(int32_t) override {}
  void on_failure(const Status& status) override { reply_->send(error_response(status)); }

  void on_end() override {
    json::array choices;
    for (int32_t i = 0; i < chat_.n; ++i) {
      Result<json::object> choice = choice_json(i);
      if (!choice) return reply_->send(error_response(choice.error()));
      choices.push_back(std::move(*choice));
    }
    json::object body{{"id", id_},
                      {"object", "chat.completion"},
                      {"created", created_},
                      {"model", chat_.model},
                      {"choices", std::move(choices)},
                      {"usage", usage().chat_json()}};
    if (chat_.return_stage_metrics) {
      body["stage_metrics"] = stage_metrics_json(answers_.front(), services_.model);
    }
    reply_->send({.status = 200,
                  .content_type = "application/json",
                  .body = json::serialize(body),
                  .headers = {{"X-Request-Id", id_}}});
  }

  Result<json::object> choice_json(int32_t index) {
    Answer& answer = answers_[index];
    json::object message{{"role", "assistant"},
                         {"content", valid_utf8(chat_.echo + answer.text)},
                         {"refusal", nullptr}};
    if (chat_.speech) {
      TUTTI_ASSIGN_OR_RETURN(const std::string file,
                             encode_audio(chat_.audio_format, answer.sample_rate, answer.samples));
      std::string base64;
      append_base64(base64, std::as_bytes(std::span(file)));
      const auto life = std::chrono::seconds(Transcripts::kLife).count();
      message["audio"] = json::object{{"id", audio_id(index)},
                                      {"data", std::move(base64)},
                                      {"expires_at", created_ + life},
                                      {"transcript", valid_utf8(answer.text)}};
    }
    json::object choice{{"index", index},
                        {"message", std::move(message)},
                        {"finish_reason", finish_reason_text(answer.finish_reason)},
                        {"logprobs", nullptr}};
    if (!answer.stop_reason.empty()) choice["stop_reason"] = valid_utf8(answer.stop_reason);
    if (chat_.logprobs) {
      choice["logprobs"] =
          chat_logprobs(services_.model, answer.token_ids, answer.logprobs, top_n());
    }
    return choice;
  }

  const HttpReplyPtr reply_;
};

// --- server-sent events

class StreamedChat final : public ChatRun {
 public:
  StreamedChat(const Services& services, ChatRequest chat, std::string id)
      : ChatRun(services, std::move(chat), std::move(id)) {
    prefix_ = fmt::format(R"({{"id":"{}","object":"chat.completion.chunk","created":{},"model":)",
                          id_, created_);
    append_json_string(prefix_, chat_.model);
    prefix_ += R"(,"choices":[)";
    tail_ = chat_.include_usage ? R"(],"usage":null)" : "]";
    opened_.resize(static_cast<size_t>(chat_.n), false);
  }

  void open(HttpReplyPtr reply, std::string owner) {
    stream_ = EventStream::create(
        id_, std::move(reply), chat_.resumable_stream ? &services_.streams : nullptr,
        [weak = weak_from_this()] {
          if (auto self = weak.lock()) self->abort_all();
        },
        std::move(owner));
  }

 private:
  // `delta`: the JSON object's inside.
  void send_delta(int32_t index, std::string_view delta, std::string_view rest = {}) {
    std::string event = prefix_;
    fmt::format_to(std::back_inserter(event), R"({{"index":{},"delta":{{)", index);
    event.append(delta).append("}");
    event.append(rest.empty() ? kNothingMore : rest).append("}").append(tail_);
    if (chat_.vllm_audio_delta) event.append(R"(,"modality":"text")");
    event.push_back('}');
    stream_->send(event);
  }

  void open_choice(int32_t index) {
    if (opened_[index]) return;
    opened_[index] = true;
    send_delta(index, R"("role":"assistant","content":"")");
    if (chat_.echo.empty()) return;
    std::string text;
    append_json_string(text, chat_.echo);
    send_delta(index, R"("content":)" + text);
  }

  void on_delta(int32_t index, const OutputMessage& message) override {
    open_choice(index);
    const StageOutputDelta& delta = message.output;
    if (!delta.text.empty() || (chat_.logprobs && !delta.token_ids.empty())) {
      send_text(index, delta);
    }
    if (!delta.audio.samples.empty()) send_audio(index, delta.audio);
  }

  void send_text(int32_t index, const StageOutputDelta& delta) {
    std::string text;
    append_json_string(text, delta.text);
    std::string fields = R"("content":)" + text;
    if (chat_.speech && !chat_.vllm_audio_delta) {
      fields += fmt::format(R"(,"audio":{{"id":"{}","transcript":{}}})", audio_id(index), text);
    }
    std::string rest;
    if (chat_.logprobs) {
      rest = R"(,"logprobs":)" +
             json::serialize(
                 chat_logprobs(services_.model, delta.token_ids, delta.logprobs, top_n())) +
             R"(,"finish_reason":null)";
    }
    send_delta(index, fields, rest);
  }

  void send_audio(int32_t index, const AudioChunk& audio) {
    std::string base64;
    if (chat_.vllm_audio_delta) {
      // vLLM-Omni puts the sound where the text goes, each piece a WAV file, and marks the chunk.
      const auto wav = encode_audio(AudioFormat::kWav, audio.sample_rate, audio.samples);
      if (!wav) return;  // the format always fits
      append_base64(base64, std::as_bytes(std::span(*wav)));
      std::string event = prefix_;
      fmt::format_to(std::back_inserter(event),
                     R"({{"index":{},"delta":{{"content":"{}"}}{}}}{},"modality":"audio"}})", index,
                     base64, kNothingMore, tail_);
      stream_->send(event);
      return;
    }
    const std::string pcm = pcm16(audio.samples);
    append_base64(base64, std::as_bytes(std::span(pcm)));
    send_delta(index, fmt::format(R"("audio":{{"id":"{}","data":"{}"}})", audio_id(index), base64));
  }

  void on_choice_end(int32_t index) override {
    open_choice(index);
    const Answer& answer = answers_[index];
    std::string rest = fmt::format(R"(,"logprobs":null,"finish_reason":"{}")",
                                   finish_reason_text(answer.finish_reason));
    if (!answer.stop_reason.empty()) {
      rest += R"(,"stop_reason":)";
      append_json_string(rest, answer.stop_reason);
    }
    send_delta(index, "", rest);
  }

  // As at the end, the timeline is the first choice's.
  void on_stage_news(int32_t index, int32_t stage) override {
    if (!chat_.live_stage_metrics || index != 0) return;
    if (!pace_.is_due(stage, Clock::steady().now())) return;
    stream_->send(prefix_ + tail_ + R"(,"stage_metrics":)" +
                  json::serialize(stage_metrics_json(answers_.front(), services_.model)) + "}");
  }

  void on_end() override {
    if (chat_.include_usage || chat_.return_stage_metrics) {
      std::string event = prefix_ + "]";
      if (chat_.include_usage) event += R"(,"usage":)" + json::serialize(usage().chat_json());
      if (chat_.return_stage_metrics) {
        event += R"(,"stage_metrics":)" +
                 json::serialize(stage_metrics_json(answers_.front(), services_.model));
      }
      stream_->send(event + "}");
    }
    stream_->send("[DONE]");
    stream_->end();
  }

  void on_failure(const Status& status) override { stream_->fail(status); }

  static constexpr std::string_view kNothingMore = R"(,"logprobs":null,"finish_reason":null)";
  std::string prefix_;  // of every chunk, and what follows its choices
  std::string tail_;
  std::vector<bool> opened_;
  StageMetricsPace pace_;
  std::shared_ptr<EventStream> stream_;
};

}  // namespace

void handle_chat_completions(const Services& services, HttpRequest request, HttpReplyPtr reply) {
  const std::string owner(api_key_of(request));
  if (const std::string_view last = request.header("last-event-id"); !last.empty()) {
    const Status status = services.streams.resume(std::string(last), owner, reply);
    if (!status.ok()) reply->send(error_response(status));
    return;
  }
  Result<ChatRequest> chat = read_chat_request(
      services.model, request, [&](const std::string& id) { return services.transcripts.get(id); });
  if (!chat) return reply->send(error_response(chat.error()));
  std::string id = new_id("chatcmpl");
  if (chat->stream) {
    auto run = std::make_shared<StreamedChat>(services, std::move(*chat), std::move(id));
    run->open(std::move(reply), owner);
    run->submit();
  } else {
    auto run =
        std::make_shared<WholeChat>(services, std::move(*chat), std::move(id), std::move(reply));
    run->watch();
    run->submit();
  }
}

}  // namespace tutti::serve
