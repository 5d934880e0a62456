#include "serve/realtime_prompt.h"

#include <algorithm>
#include <functional>
#include <mutex>

namespace tutti::serve {
namespace {

bool same(const ContentPart& a, const ContentPart& b) {
  if (a.media.has_value() != b.media.has_value()) return false;
  if (!a.media) return a.text == b.text;
  return a.media->bytes == b.media->bytes && a.media->path_or_url == b.media->path_or_url;
}

// `begun` holds the first parts of `message`, or, unless it is open, all of them.
bool begins(const ChatMessage& begun, const ChatMessage& message, bool open) {
  const bool fits = open ? begun.content.size() < message.content.size()
                         : begun.content.size() == message.content.size();
  return fits && begun.role == message.role &&
         std::equal(begun.content.begin(), begun.content.end(), message.content.begin(), same);
}

const std::vector<ChatMessage>& messages_of(const AddRequest& request) {
  return std::get<ChatPrompt>(request.prompt).messages;
}

std::vector<SamplingParams> silent(std::vector<SamplingParams> params) {
  params.front().max_tokens = 0;
  params.front().min_tokens = 0;
  return params;
}

}  // namespace

AddRequest answer_request(const RealtimeContext& context, const RealtimeSettings& settings,
                          std::string id, std::vector<ChatMessage> messages) {
  const ModelInfo& model = context.services.model;
  AddRequest request;
  request.request_id = std::move(id);
  request.prompt = ChatPrompt{.messages = std::move(messages)};
  request.voice = settings.speech ? settings.voice : "";
  request.lora_request = model.adapter(settings.model);
  request.trace_headers = context.trace;
  request.final_output_stage_ids = {model.text_stage()};
  if (settings.speech) request.final_output_stage_ids.push_back(model.audio_stage());
  request.sampling_params_list = model.engine().default_sampling_params_list();
  SamplingParams& text = request.sampling_params_list.front();
  if (settings.temperature) text.temperature = static_cast<float>(*settings.temperature);
  if (settings.max_output_tokens) text.max_tokens = *settings.max_output_tokens;
  return request;
}

// A request that is taken in and answered later: its messages go nowhere until then. One that ends
// before its answer has begun was in vain, and the answer begins anew.
//
// Thread: the sink's methods from the gateway's; the others under the session's lock.
class EarlyRequest final : public RequestSink {
 public:
  using Sink = std::shared_ptr<RequestSink>;
  using Again = std::function<void(const Sink&, const Status&)>;

  explicit EarlyRequest(AddRequest begun) : taken(std::move(begun)), id(taken.request_id) {}

  // From now on the messages are `sink`'s; `again` gets it when nothing came of this request.
  // False when that is so already.
  bool answer(Sink sink, Again again) {
    const std::lock_guard lock(mutex_);
    if (ended_) return false;
    segment_ = segments - 1;
    sink_ = std::move(sink);
    again_ = std::move(again);
    return true;
  }

  void on_output(const OutputMessage& message) override {
    Sink sink;
    {
      const std::lock_guard lock(mutex_);
      if (!sink_ || message.segment < segment_) return;
      sink = sink_;
      again_ = nullptr;
    }
    sink->on_output(message);
  }
  void on_stage_metrics(const StageMetricsMessage& message) override {
    Sink sink;
    {
      const std::lock_guard lock(mutex_);
      sink = sink_;
    }
    if (sink) sink->on_stage_metrics(message);
  }
  // Also when it did not take what it was given.
  void on_error(const Status& error) override {
    Sink sink;
    Again again;
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
      sink = std::exchange(sink_, nullptr);
      again = std::exchange(again_, nullptr);
    }
    if (again) {
      again(sink, error);
    } else if (sink) {
      sink->on_error(error);
    }
  }

  AddRequest taken;  // with the messages that were added since
  const std::string id;
  int32_t segments = 1;  // given so far

 private:
  std::mutex mutex_;
  Sink sink_;  // guarded by mutex_, as all below
  Again again_;
  int32_t segment_ = 0;  // the first that is answered
  bool ended_ = false;
};

void RealtimePrompt::begin() {
  drop();
  const RealtimeSettings& settings = context_.settings;
  AddRequest request = answer_request(context_, settings, new_id("turn"),
                                      context_.conversation.messages(settings.instructions));
  // Templates look ahead (some write the last message differently): what he says comes last, and is
  // open.
  ChatPrompt& prompt = std::get<ChatPrompt>(request.prompt);
  prompt.messages.emplace_back();
  prompt.messages.back().role = "user";
  early_ = std::make_shared<EarlyRequest>(request);
  prompt.continue_final_message = true;
  request.sampling_params_list = silent(std::move(request.sampling_params_list));
  request.resumable = true;
  context_.services.gateway.submit(std::move(request), early_);
}

void RealtimePrompt::append(std::shared_ptr<const std::vector<std::byte>> sound) {
  if (!early_) return;
  ContentPart part;
  part.media.emplace();
  part.media->kind = MediaKind::kAudio;
  part.media->bytes = std::move(sound);
  ChatMessage message;
  message.role = "user";
  message.content.push_back(std::move(part));
  std::get<ChatPrompt>(early_->taken.prompt)
      .messages.back()
      .content.push_back(message.content.front());
  ++early_->segments;
  StreamingUpdate update;
  update.prompt = ChatPrompt{.messages = {std::move(message)}, .continue_final_message = true};
  update.sampling_params_list = silent(early_->taken.sampling_params_list);
  send(early_, std::move(update));
}

void RealtimePrompt::send(const std::shared_ptr<EarlyRequest>& early, StreamingUpdate update) {
  Gateway& gateway = context_.services.gateway;
  update.request_id = early->id;
  gateway.update(std::move(update), [early, &gateway](const Status& status) {
    if (status.ok()) return;
    gateway.abort(early->id);
    early->on_error(status);
  });
}

std::optional<ChatPrompt> RealtimePrompt::rest_of(const AddRequest& whole) const {
  if (!early_) return std::nullopt;
  const AddRequest& begun = early_->taken;
  const auto adapter = [](const AddRequest& request) {
    return request.lora_request ? request.lora_request->lora_name : "";
  };
  if (begun.voice != whole.voice || adapter(begun) != adapter(whole) ||
      begun.final_output_stage_ids != whole.final_output_stage_ids)
    return std::nullopt;
  const std::vector<ChatMessage>& taken = messages_of(begun);
  const std::vector<ChatMessage>& wanted = messages_of(whole);
  if (taken.size() > wanted.size()) return std::nullopt;
  for (size_t i = 0; i < taken.size(); ++i) {
    if (!begins(taken[i], wanted[i], i + 1 == taken.size())) return std::nullopt;
  }
  ChatPrompt rest;
  rest.messages.assign(wanted.begin() + static_cast<std::ptrdiff_t>(taken.size()) - 1,
                       wanted.end());
  std::vector<ContentPart>& parts = rest.messages.front().content;
  parts.erase(parts.begin(),
              parts.begin() + static_cast<std::ptrdiff_t>(taken.back().content.size()));
  return rest;
}

void RealtimePrompt::submit(AddRequest whole, std::shared_ptr<RequestSink> sink) {
  std::optional<ChatPrompt> rest = rest_of(whole);
  const std::shared_ptr<EarlyRequest> early = early_;
  answering_ = {whole.request_id};
  if (rest) {
    ++early->segments;
    rest = early->answer(sink, anew(whole)) ? std::move(rest) : std::nullopt;
  }
  if (!rest) {
    drop();
    return context_.services.gateway.submit(std::move(whole), std::move(sink));
  }
  early_ = nullptr;
  answering_.push_back(early->id);
  StreamingUpdate update;
  update.prompt = std::move(*rest);
  update.sampling_params_list = std::move(whole.sampling_params_list);
  update.resumable = false;
  send(early, std::move(update));
}

EarlyRequest::Again RealtimePrompt::anew(const AddRequest& whole) {
  return context_.guarded(
      [this, whole](const std::shared_ptr<RequestSink>& sink, const Status& error) {
        const bool wanted =
            std::find(answering_.begin(), answering_.end(), whole.request_id) != answering_.end();
        if (!wanted) return sink->on_error(error);
        context_.services.gateway.submit(whole, sink);
      });
}

void RealtimePrompt::drop() {
  if (early_) context_.services.gateway.abort(early_->id);
  early_ = nullptr;
}

void RealtimePrompt::abort() {
  for (const std::string& id : std::exchange(answering_, {})) context_.services.gateway.abort(id);
}

}  // namespace tutti::serve
