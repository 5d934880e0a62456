// The shapes that a transcription is sent in: OpenAI's json and verbose_json, plain text, SubRip
// and WebVTT subtitles.
//
// Thread: free functions, any thread.
#pragma once

#include <string>

#include "serve/answer.h"
#include "serve/http.h"

namespace tutti::serve {

enum class TranscriptionFormat : uint8_t { kJson, kText, kVerboseJson, kSrt, kVtt };

// "json", "text", "verbose_json", "srt", "vtt".
std::optional<TranscriptionFormat> transcription_format(std::string_view name);
std::string_view transcription_format_names();
// Whether it says when what was said.
bool has_times(TranscriptionFormat format);

struct Transcription {
  const Answer& answer;
  double duration_s = 0;      // of the sound; where has_times()
  float temperature = 0;      // that it was sampled with
  std::string language = {};  // as the client named it
};

// The model tells no times within a sound, so there is one segment, from its beginning to its end;
// none where nothing was said.
HttpResponse transcription_response(TranscriptionFormat format, const Transcription& transcription,
                                    const Usage& usage);

}  // namespace tutti::serve
