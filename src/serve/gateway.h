// Gateway: the server's side of the engine. One thread takes the engine's messages and hands each
// to the sink of its request.
//
// Thread: every method from any; sinks are called on the gateway's thread, one at a time, or, with
// an error that ends them, by who submits or fails them. A sink gets no message after its terminal
// one, and one at a time. Borrows the engine, which must outlive it.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>

#include "tutti/async_omni_engine.h"

namespace tutti::serve {

class RequestSink {
 public:
  virtual ~RequestSink() = default;
  virtual void on_output(const OutputMessage& message) = 0;
  virtual void on_stage_metrics(const StageMetricsMessage&) {}
  // Terminal; also when the request was refused before it was accepted.
  virtual void on_error(const Status& error) = 0;
};

class Gateway {
 public:
  // `most_open`: resumable requests that may wait for further segments at once; they take places of
  // the engine, and who has them may never go on.
  Gateway(AsyncOmniEngine& engine, size_t most_open);
  // Shuts the engine down.
  ~Gateway();
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  AsyncOmniEngine& engine() const { return engine_; }
  // Never blocks: the prompt is processed on the engine's threads.
  void submit(AddRequest request, std::shared_ptr<RequestSink> sink);
  // A further segment of a resumable request.
  void update(StreamingUpdate update, std::function<void(const Status&)> done);
  void abort(const std::string& request_id);
  int64_t live() const;
  // No further requests; those that wait for input end. True when the last one has ended before
  // the deadline.
  bool drain(double timeout_s);
  // Ends what is left with this error; the engine goes on with it until it is shut down. Not to be
  // called by a sink.
  void fail_all(const Status& error);

 private:
  void pump();
  void dispatch(const EngineMessage& message);
  std::shared_ptr<RequestSink> find(const std::string& request_id, bool terminal);

  AsyncOmniEngine& engine_;
  const size_t most_open_;
  std::atomic<bool> draining_{false};
  std::mutex dispatching_;  // held while a sink is handed a message; before mutex_
  mutable std::mutex mutex_;
  std::condition_variable ended_;
  std::unordered_map<std::string, std::shared_ptr<RequestSink>> sinks_;
  std::unordered_set<std::string> open_;  // of these the requests that take further segments
  std::thread thread_;
};

// What a request meets that comes too late.
Status shutting_down();
// "chatcmpl-5f3c...": a prefix and 24 random hex digits.
std::string new_id(std::string_view prefix);

}  // namespace tutti::serve
