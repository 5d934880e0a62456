// The engine over fake stages, with its real threads and queues, and what its tests share.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "orchestrator/engine_parts.h"
#include "orchestrator/testing/fake_pipeline.h"

namespace tutti::fake {

// Everything that came for one request.
struct Seen {
  std::map<int32_t, std::vector<int32_t>> tokens;
  std::vector<int32_t> metrics_of;
  FinishReason finish_reason = FinishReason::kNone;
  Status error;
  int terminals = 0;
};

// A stage that does not go on before it is let.
class Gate {
 public:
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void pass() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return open_; });
  }
  void wait_for(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return waiting_ >= count; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
  int waiting_ = 0;
};

inline FakeOptions gated(const std::shared_ptr<Gate>& gate) {
  FakeOptions options;
  options.on_admit = [gate](const StageRequest&, int32_t) { gate->pass(); };
  return options;
}

// What stages were given, by stage.
class Admitted {
 public:
  FakeOptions options() {
    FakeOptions options;
    options.on_admit = [this](const StageRequest& request, int32_t stage) {
      const std::lock_guard lock(mutex_);
      requests_[stage].push_back(request);
    };
    return options;
  }
  std::vector<StageRequest> of(int32_t stage) {
    const std::lock_guard lock(mutex_);
    return requests_[stage];
  }

 private:
  std::mutex mutex_;
  std::map<int32_t, std::vector<StageRequest>> requests_;
};

class EngineFixture : public testing::Test {
 public:
  void start(std::vector<FakeOptions> stages = {}, EngineOptions options = {}) {
    start_parts(fake_parts(omni_specs(), std::move(stages), 100), options);
  }
  void start_parts(EngineParts parts, EngineOptions options = {}) {
    engine_.reset();
    auto engine = start_engine(std::move(parts), options);
    ASSERT_TRUE(engine) << engine.error().to_string();
    engine_ = std::move(engine).value();
  }
  AddRequest request(const std::string& id, int32_t tokens, std::vector<int32_t> wanted = {}) {
    AddRequest request;
    request.request_id = id;
    request.prompt = TextPrompt{"hello"};
    request.sampling_params_list.resize(3);
    for (auto& params : request.sampling_params_list) params.max_tokens = tokens;
    request.final_output_stage_ids = std::move(wanted);
    return request;
  }
  // One message; fails the test when none comes for long.
  bool read_one() {
    auto message = engine_->try_get_output(30);
    if (!message || !*message) return false;
    take(**message);
    return true;
  }
  void take(const EngineMessage& message) {
    if (const auto* output = std::get_if<OutputMessage>(&message)) {
      Seen& seen = seen_[output->request_id];
      auto& tokens = seen.tokens[output->stage_id];
      tokens.insert(tokens.end(), output->output.token_ids.begin(), output->output.token_ids.end());
      if (!output->finished) return;
      seen.finish_reason = output->output.finish_reason;
      ++seen.terminals;
    } else if (const auto* error = std::get_if<ErrorMessage>(&message)) {
      seen_[error->request_id].error = error->error;
      ++seen_[error->request_id].terminals;
    } else {
      const auto& metrics = std::get<StageMetricsMessage>(message);
      seen_[metrics.request_id].metrics_of.push_back(metrics.stage_id);
    }
  }
  const Seen& read_until_end(const std::string& id) {
    while (seen_[id].terminals == 0) {
      if (!read_one()) {
        ADD_FAILURE() << "no terminal message for " << id;
        break;
      }
    }
    return seen_[id];
  }
  // The call must be refused, with a sentence that has `what`, about the field `param`.
  void expect_refused(AddRequest wrong, const char* what, const char* param) {
    const Status status = engine_->add_request(std::move(wrong));
    EXPECT_THAT(status.message(), testing::HasSubstr(what));
    EXPECT_EQ(status.param(), param) << what;
  }

  std::unique_ptr<AsyncOmniEngine> engine_;
  std::map<std::string, Seen> seen_;
};

// Waits for what an asynchronous call is given.
template <typename Value>
class Answer {
 public:
  std::function<void(Value)> done() {
    return [promise = promise_](Value value) { promise->set_value(std::move(value)); };
  }
  Value get() { return promise_->get_future().get(); }

 private:
  std::shared_ptr<std::promise<Value>> promise_ = std::make_shared<std::promise<Value>>();
};

}  // namespace tutti::fake
