#include "serve/completions.h"

#include <fmt/format.h>

#include <ctime>
#include <mutex>

#include "serve/answer.h"
#include "serve/api_error.h"
#include "serve/chat_logprobs.h"
#include "serve/chat_request.h"
#include "serve/json_text.h"
#include "serve/model_field.h"
#include "serve/sampling_fields.h"
#include "serve/text_answer.h"

namespace tutti::serve {

namespace json = boost::json;

namespace {

constexpr size_t kMostPrompts = 64;

struct CompletionRequest {
  std::string model;
  std::vector<Prompt> prompts;
  std::vector<std::string> echoes;  // of each prompt; empty: not wanted
  AddRequest request;
  int32_t n = 1;
  bool stream = false;
  bool include_usage = false;

  int32_t choices() const { return static_cast<int32_t>(prompts.size()) * n; }
};

// A string, an array of strings, an array of token ids, or an array of those.
void read_prompts(Fields& fields, CompletionRequest& out) {
  const json::value* prompt = fields.any("prompt");
  const auto wrong = [&] {
    fields.fail("prompt",
                "`prompt` must be a string, an array of strings, an array of token ids or an "
                "array of those, and not empty.");
  };
  const auto tokens = [&](const json::array& ids) {
    TokensPrompt made;
    for (const json::value& id : ids) {
      boost::system::error_code inexact;
      const auto number = id.is_number() ? id.to_number<int32_t>(inexact) : -1;
      if (inexact || number < 0) return wrong();
      made.token_ids.push_back(number);
    }
    out.prompts.emplace_back(std::move(made));
  };
  if (!prompt) return wrong();
  if (const auto* text = prompt->if_string()) {
    out.prompts.emplace_back(TextPrompt{std::string(*text)});
    return;
  }
  const json::array* list = prompt->if_array();
  if (!list || list->empty() || list->size() > (1u << 20)) return wrong();
  if (list->front().is_number()) return tokens(*list);
  if (list->size() > kMostPrompts) {
    return fields.fail("prompt", fmt::format("`prompt` has {} entries; at most {} are allowed.",
                                             list->size(), kMostPrompts));
  }
  for (const json::value& entry : *list) {
    if (const auto* text = entry.if_string()) {
      out.prompts.emplace_back(TextPrompt{std::string(*text)});
    } else if (const auto* ids = entry.if_array(); ids && !ids->empty()) {
      tokens(*ids);
    } else {
      return wrong();
    }
  }
}

Result<CompletionRequest> read_completion(const ModelInfo& model, const HttpRequest& http) {
  TUTTI_ASSIGN_OR_RETURN(const json::object body,
                         parse_json_body(http.header("content-type"), http.body));
  Status error;
  Fields fields(body, "", &error);
  CompletionRequest out;
  out.model = read_model(fields, model);
  read_prompts(fields, out);
  std::vector<SamplingParams> params = model.engine().default_sampling_params_list();
  read_sampling_fields(fields, params);
  constexpr int32_t kDefaultTokens = 16;  // OpenAI's
  params.front().max_tokens =
      static_cast<int32_t>(fields.integer("max_tokens", 1, 1 << 24).value_or(kDefaultTokens));
  if (const auto top = fields.integer("logprobs", 0, 20)) {
    params.front().logprobs = static_cast<int32_t>(*top);
  }
  if (fields.boolean("echo").value_or(false)) {
    for (const Prompt& prompt : out.prompts) {
      const auto* text = std::get_if<TextPrompt>(&prompt);
      if (!text) {
        fields.fail("echo", "`echo` needs prompts of text.");
        break;
      }
      out.echoes.push_back(text->text);
    }
    if (params.front().logprobs) {
      fields.fail("echo",
                  "`echo` and `logprobs` are both given; the model tells log "
                  "probabilities of what it writes alone.");
    }
  }
  out.n = static_cast<int32_t>(fields.integer("n", 1, 16).value_or(1));
  out.stream = fields.boolean("stream").value_or(false);
  if (const json::object* object = fields.object("stream_options")) {
    Fields options(*object, "stream_options", &error);
    out.include_usage = options.boolean("include_usage").value_or(false);
    options.accept({"include_obfuscation"});
    if (error.ok()) options.finish();
  }
  if (const auto suffix = fields.string("suffix")) {
    fields.fail("suffix", "`suffix` is given; this model continues text and cannot fill gaps.");
  }
  if (const auto best = fields.integer("best_of", 1, 16); best && *best != out.n) {
    fields.fail("best_of", "`best_of` must equal `n`.");
  }
  fields.accept({"user"});
  if (error.ok()) fields.finish();
  if (!error.ok()) return error;
  out.request.sampling_params_list = std::move(params);
  out.request.lora_request = model.adapter(out.model);
  out.request.final_output_stage_ids = {model.text_stage()};
  out.request.trace_headers = trace_headers(http);
  return out;
}

// OpenAI's older shape: parallel arrays. `offset`: of the first token, in characters of the
// choice's text; moved on behind the last one.
json::object completion_logprobs(const ModelInfo& model, const Answer& answer, size_t& offset) {
  json::array tokens, values, top, offsets;
  for (size_t i = 0; i < answer.logprobs.size(); ++i) {
    const std::vector<TokenLogprob>& row = answer.logprobs[i];
    const std::string token = model.token_text(answer.token_ids[i]);
    offsets.emplace_back(offset);
    offset += num_characters(token);
    tokens.emplace_back(valid_utf8(token));
    values.emplace_back(logprob_number(row.front().logprob));
    json::object best;
    for (const TokenLogprob& entry : row) {
      best[valid_utf8(model.token_text(entry.token_id))] = logprob_number(entry.logprob);
    }
    top.push_back(std::move(best));
  }
  return {{"tokens", std::move(tokens)},
          {"token_logprobs", std::move(values)},
          {"top_logprobs", std::move(top)},
          {"text_offset", std::move(offsets)}};
}

class CompletionRun : public std::enable_shared_from_this<CompletionRun> {
 public:
  CompletionRun(const Services& services, CompletionRequest request, std::string id)
      : services_(services),
        request_(std::move(request)),
        id_(std::move(id)),
        created_(std::time(nullptr)),
        answers_(static_cast<size_t>(request_.choices())),
        offsets_(answers_.size()),
        open_(request_.choices()) {}

  void open(HttpReplyPtr reply) {
    const auto abandoned = [weak = weak_from_this()] {
      if (auto self = weak.lock()) self->abort_all();
    };
    if (request_.stream) {
      stream_ = EventStream::create(id_, std::move(reply), nullptr, abandoned);
    } else {
      reply_ = std::move(reply);
      reply_->on_disconnect(abandoned);
    }
  }

  void submit() {
    for (int32_t i = 0; i < request_.choices(); ++i) {
      AddRequest request = request_.request;
      request.request_id = choice_id(i);
      request.prompt = request_.prompts[static_cast<size_t>(i / request_.n)];
      SamplingParams& params = request.sampling_params_list.front();
      if (params.seed) *params.seed += static_cast<uint64_t>(i % request_.n);
      services_.gateway.submit(
          std::move(request),
          std::make_shared<TextAnswer>(
              services_,
              [self = shared_from_this(), i](const OutputMessage& m) { self->delta(i, m); },
              [self = shared_from_this(), i](const Status& status, const Answer& answer) {
                self->done(i, status, answer);
              }));
    }
  }

 private:
  std::string choice_id(int32_t i) const { return fmt::format("{}-{}", id_, i); }
  void abort_all() {
    for (int32_t i = 0; i < request_.choices(); ++i) services_.gateway.abort(choice_id(i));
  }

  std::string echo(int32_t i) const {
    return request_.echoes.empty() ? "" : request_.echoes[static_cast<size_t>(i / request_.n)];
  }

  json::object head() const {
    return {{"id", id_},
            {"object", "text_completion"},
            {"created", created_},
            {"model", request_.model}};
  }

  json::object choice(int32_t i, const Answer& part, json::value finish_reason) {
    std::string text;
    append_json_string(text, part.text);
    json::object out{{"index", i}, {"text", json::parse(text)}, {"logprobs", nullptr}};
    if (request_.request.sampling_params_list.front().logprobs) {
      out["logprobs"] = completion_logprobs(services_.model, part, offsets_[i]);
    }
    out["finish_reason"] = std::move(finish_reason);
    return out;
  }

  void send_part(int32_t i, const Answer& part, json::value finish_reason) {
    json::object event = head();
    event["choices"] = json::array{choice(i, part, std::move(finish_reason))};
    if (request_.include_usage) event["usage"] = nullptr;
    stream_->send(json::serialize(event));
  }

  void delta(int32_t i, const OutputMessage& message) {
    const std::lock_guard lock(mutex_);
    if (!stream_ || failed_) return;
    Answer part;
    if (begun_.insert(i).second) part.text = echo(i);
    part.add(message, false);
    if (!part.text.empty() || !part.token_ids.empty()) send_part(i, part, nullptr);
  }

  void done(int32_t i, const Status& status, const Answer& answer) {
    {
      const std::lock_guard lock(mutex_);
      if (failed_) return;
      if (status.ok()) return finish_choice(i, answer);
      failed_ = true;
      if (stream_) {
        stream_->fail(status);
      } else {
        reply_->send(error_response(status));
      }
    }
    abort_all();
  }

  void finish_choice(int32_t i, const Answer& answer) {
    answers_[i] = answer;
    if (stream_) send_part(i, {}, json::value(finish_reason_text(answer.finish_reason)));
    if (--open_ > 0) return;
    Usage usage;
    for (int32_t k = 0; k < request_.choices(); ++k) {
      Usage own;
      own.add(answers_[k], services_.model);
      if (k % request_.n == 0) usage.prompt_tokens += own.prompt_tokens;
      usage.completion_tokens += own.completion_tokens;
    }
    json::object body = head();
    body["usage"] = usage.chat_json();
    if (stream_) {
      body["choices"] = json::array();
      if (request_.include_usage) stream_->send(json::serialize(body));
      stream_->send("[DONE]");
      return stream_->end();
    }
    json::array choices;
    for (int32_t k = 0; k < request_.choices(); ++k) {
      answers_[k].text.insert(0, echo(k));
      choices.push_back(
          choice(k, answers_[k], json::value(finish_reason_text(answers_[k].finish_reason))));
    }
    body["choices"] = std::move(choices);
    reply_->send({.status = 200,
                  .content_type = "application/json",
                  .body = json::serialize(body),
                  .headers = {}});
  }

  const Services services_;
  const CompletionRequest request_;
  const std::string id_;
  const std::time_t created_;
  HttpReplyPtr reply_;
  std::shared_ptr<EventStream> stream_;
  std::mutex mutex_;
  std::vector<Answer> answers_;
  std::vector<size_t> offsets_;  // characters of each choice whose logprobs have been written
  std::set<int32_t> begun_;
  int32_t open_;
  bool failed_ = false;
};

}  // namespace

void handle_completions(const Services& services, HttpRequest http, HttpReplyPtr reply) {
  Result<CompletionRequest> request = read_completion(services.model, http);
  if (!request) return reply->send(error_response(request.error()));
  auto run = std::make_shared<CompletionRun>(services, std::move(*request), new_id("cmpl"));
  run->open(std::move(reply));
  run->submit();
}

}  // namespace tutti::serve
