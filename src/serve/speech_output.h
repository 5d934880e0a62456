// How the sound of POST /v1/audio/speech reaches its client: as a file's bytes or as events, while
// it is produced.
//
// Thread: one at a time (the gateway's).
#pragma once

#include <memory>
#include <string>

#include "media/audio_encoder.h"
#include "media/time_stretch.h"
#include "serve/answer.h"
#include "serve/event_stream.h"
#include "serve/http.h"
#include "serve/speech_request.h"

namespace tutti::serve {

// From samples to bytes of the file, stretched and encoded while they come.
class SpeechBytes {
 public:
  SpeechBytes(AudioFormat format, double speed) : format_(format), speed_(speed) {}

  Result<std::string> append(const AudioChunk& audio);
  // Error: no sound has come.
  Result<std::string> finish();

 private:
  const AudioFormat format_;
  const double speed_;
  std::unique_ptr<AudioEncoder> encoder_;
  std::unique_ptr<TimeStretch> stretch_;
};

// The file itself as a chunked body.
class SpeechBody {
 public:
  SpeechBody(const SpeechRequest& speech, HttpReplyPtr reply)
      : bytes_(speech.format, speech.speed), format_(speech.format), reply_(std::move(reply)) {}

  void delta(const OutputMessage& message) { send(bytes_.append(message.output.audio)); }
  void done(const Status& status);

 private:
  void send(Result<std::string> bytes);
  // After the head an error can only break the body off.
  void fail(const Status& status);

  SpeechBytes bytes_;
  const AudioFormat format_;
  const HttpReplyPtr reply_;
  bool begun_ = false;
  bool failed_ = false;
};

// speech.audio.delta and speech.audio.done.
class SpeechEvents {
 public:
  SpeechEvents(const SpeechRequest& speech, std::shared_ptr<EventStream> stream)
      : bytes_(speech.format, speech.speed), stream_(std::move(stream)) {}

  void delta(const OutputMessage& message) { send(bytes_.append(message.output.audio)); }
  void done(const Status& status, const Usage& usage);

 private:
  void send(Result<std::string> bytes);

  SpeechBytes bytes_;
  const std::shared_ptr<EventStream> stream_;
};

}  // namespace tutti::serve
