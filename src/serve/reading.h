// Reading: a text that is read aloud, its sentences one after the other, each as a request of its
// own.
//
// Thread: begin() once; then the gateway's thread. abandon() from any thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "serve/answer.h"
#include "serve/services.h"
#include "serve/speech_request.h"

namespace tutti::serve {

class Reading : public std::enable_shared_from_this<Reading> {
 public:
  using Delta = std::function<void(const OutputMessage&)>;
  using Done = std::function<void(const Status&, const Usage&)>;
  Reading(const Services& services, SpeechRequest speech, std::map<std::string, std::string> trace)
      : services_(services), speech_(std::move(speech)), trace_(std::move(trace)) {}

  const std::string& id() const { return id_; }
  const SpeechRequest& speech() const { return speech_; }
  // `done` is called once, after the last delta.
  void begin(Delta delta, Done done);
  // Nobody listens any more.
  void abandon();

 private:
  void next();
  bool is_abandoned();
  // False when nobody listens any more.
  bool set_running(const std::string& id);
  void ended(const Status& status, const Answer& answer);
  // Lets go of who listens, who holds this.
  void finish(const Status& status);

  const Services services_;
  const SpeechRequest speech_;
  const std::map<std::string, std::string> trace_;
  const std::string id_ = new_id("speech");
  Delta delta_;
  Done done_;
  size_t sentence_ = 0;
  Usage usage_;
  std::mutex mutex_;
  bool abandoned_ = false;
  std::string running_;  // the request of the current sentence
};

}  // namespace tutti::serve
