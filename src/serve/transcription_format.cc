#include "serve/transcription_format.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <utility>

#include "serve/json_text.h"

namespace tutti::serve {

namespace json = boost::json;

namespace {

constexpr std::array<std::pair<std::string_view, TranscriptionFormat>, 5> kFormats{{
    {"json", TranscriptionFormat::kJson},
    {"text", TranscriptionFormat::kText},
    {"verbose_json", TranscriptionFormat::kVerboseJson},
    {"srt", TranscriptionFormat::kSrt},
    {"vtt", TranscriptionFormat::kVtt},
}};

// "00:01:02,345"; WebVTT has a point where SubRip has a comma.
std::string timestamp(double seconds, char point) {
  const auto ms = static_cast<int64_t>(std::llround(seconds * 1000));
  return fmt::format("{:02}:{:02}:{:02}{}{:03}", ms / 3'600'000, ms / 60'000 % 60, ms / 1000 % 60,
                     point, ms % 1000);
}

std::string cue(const Transcription& t, char point) {
  return fmt::format("{} --> {}\n{}\n", timestamp(0, point), timestamp(t.duration_s, point),
                     valid_utf8(t.answer.text));
}

json::value mean_logprob(const Answer& answer) {
  if (answer.logprobs.empty()) return nullptr;
  double sum = 0;
  for (const auto& row : answer.logprobs) sum += row.front().logprob;
  const double mean = sum / static_cast<double>(answer.logprobs.size());
  return std::isfinite(mean) ? json::value(mean) : json::value(nullptr);
}

// Whisper's compression ratio and silence detection have no counterpart in these models.
json::object segment(const Transcription& t) {
  return {{"id", 0},
          {"seek", 0},
          {"start", 0.0},
          {"end", t.duration_s},
          {"text", valid_utf8(t.answer.text)},
          {"tokens", json::array(t.answer.token_ids.begin(), t.answer.token_ids.end())},
          {"temperature", t.temperature},
          {"avg_logprob", mean_logprob(t.answer)},
          {"compression_ratio", nullptr},
          {"no_speech_prob", nullptr}};
}

std::string json_body(const Transcription& t, const Usage& usage, bool verbose) {
  json::object body{{"text", valid_utf8(t.answer.text)},
                    {"usage",
                     {{"type", "tokens"},
                      {"input_tokens", usage.prompt_tokens},
                      {"output_tokens", usage.completion_tokens},
                      {"total_tokens", usage.prompt_tokens + usage.completion_tokens}}}};
  if (verbose) {
    body["task"] = "transcribe";
    body["language"] = t.language.empty() ? json::value(nullptr) : json::value(t.language);
    body["duration"] = t.duration_s;
    json::array segments;
    if (!t.answer.text.empty()) segments.push_back(segment(t));
    body["segments"] = std::move(segments);
  }
  return json::serialize(body);
}

}  // namespace

std::optional<TranscriptionFormat> transcription_format(std::string_view name) {
  for (const auto& [known, format] : kFormats) {
    if (known == name) return format;
  }
  return std::nullopt;
}

std::string_view transcription_format_names() { return "json, text, verbose_json, srt or vtt"; }

bool has_times(TranscriptionFormat format) {
  return format != TranscriptionFormat::kJson && format != TranscriptionFormat::kText;
}

HttpResponse transcription_response(TranscriptionFormat format, const Transcription& t,
                                    const Usage& usage) {
  HttpResponse response;
  response.content_type = "text/plain; charset=utf-8";
  const bool silent = t.answer.text.empty();
  switch (format) {
    case TranscriptionFormat::kText:
      response.body = valid_utf8(t.answer.text) + "\n";
      break;
    case TranscriptionFormat::kSrt:
      if (!silent) response.body = "1\n" + cue(t, ',');
      break;
    case TranscriptionFormat::kVtt:
      response.content_type = "text/vtt; charset=utf-8";
      response.body = "WEBVTT\n" + (silent ? "" : "\n" + cue(t, '.'));
      break;
    case TranscriptionFormat::kJson:
    case TranscriptionFormat::kVerboseJson:
      response.content_type = "application/json";
      response.body = json_body(t, usage, format == TranscriptionFormat::kVerboseJson);
  }
  return response;
}

}  // namespace tutti::serve
