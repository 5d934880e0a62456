// TextAnswer: a sink for the endpoints that want one request's text, whole or as it comes.
//
// Thread: as RequestSink; `done` is called once, on the thread of the last message.
#pragma once

#include <functional>
#include <memory>
#include <mutex>

#include "serve/answer.h"
#include "serve/services.h"

namespace tutti::serve {

class TextAnswer final : public RequestSink {
 public:
  using Delta = std::function<void(const OutputMessage&)>;
  using Done = std::function<void(const Status&, const Answer&)>;
  TextAnswer(const Services& services, Delta delta, Done done, bool keep_samples = false)
      : services_(services),
        delta_(std::move(delta)),
        done_(std::move(done)),
        keep_samples_(keep_samples) {}

  void on_output(const OutputMessage& message) override {
    services_.metrics.count_output(message, answer_);
    answer_.add(message, keep_samples_);
    if (delta_) delta_(message);
    if (message.finished) {
      services_.metrics.count(answer_, finish_reason_text(answer_.finish_reason));
      finish({});
    }
  }
  void on_stage_metrics(const StageMetricsMessage& message) override { answer_.add(message); }
  void on_error(const Status& error) override {
    services_.metrics.count(answer_, "error");
    finish(error);
  }

 private:
  void finish(const Status& status) {
    const Done done = std::exchange(done_, nullptr);
    delta_ = nullptr;
    if (done) done(status, answer_);
  }

  const Services services_;
  Delta delta_;
  Done done_;
  const bool keep_samples_;
  Answer answer_;
};

}  // namespace tutti::serve
