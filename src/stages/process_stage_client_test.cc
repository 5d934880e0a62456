// What only a worker process can do: die of a signal, talk nonsense, outlive its parent, leak.
#include "stages/process_stage_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <thread>

#include "base/child_process.h"
#include "base/dual_queue.h"
#include "stages/testing/scripted_stage.h"

namespace tutti {
namespace {

using testing::HasSubstr;

Deadline soon() { return Deadline::after(60); }

size_t open_descriptors() {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    ++count;
  }
  return count;
}

class ProcessStageClientTest : public testing::Test {
 protected:
  std::unique_ptr<ProcessStageClient> make(const std::string& script, ProcessOptions options = {}) {
    options.program = options.program.empty() ? TUTTI_FAKE_WORKER : options.program;
    options.load_spec = script;
    return std::make_unique<ProcessStageClient>(
        StageId(0), ReplicaId(1),
        [this](StageEvent event) { events_.push(std::move(event), Deadline::never()); }, options);
  }
  static StageCommand submit(uint64_t key, int32_t tokens) {
    auto request = std::make_unique<StageRequest>();
    request->key = RequestKey(key);
    request->sampling_params.max_tokens = tokens;
    return SubmitCommand{std::move(request), {}, true};
  }
  // Skips events until one of this kind comes.
  template <typename Body>
  std::optional<Body> await() {
    while (auto event = events_.pop(soon())) {
      if (auto* body = std::get_if<Body>(&event->body)) return std::move(*body);
    }
    ADD_FAILURE() << "the event never came";
    return std::nullopt;
  }
  std::string cause_of_death() {
    auto died = await<DiedEvent>();
    return died ? died->cause.message() : "";
  }

  std::atomic<pid_t> process_{-1};  // to be stopped
  DualQueue<StageEvent> events_{4096};
};

TEST_F(ProcessStageClientTest, AKilledWorkerIsNoticedAndReaped) {
  auto client = make("step_ms=1");
  await<ReadyEvent>();
  StageCommand command = submit(1, 1 << 20);
  ASSERT_TRUE(client->try_send(command));
  await<OutputsEvent>();
  const pid_t process = client->process_id();
  ASSERT_GT(process, 0);
  kill(process, SIGKILL);
  const std::string cause = cause_of_death();
  EXPECT_THAT(cause, HasSubstr("stage 0, replica 1"));
  EXPECT_THAT(cause, HasSubstr("killed by signal 9"));
  EXPECT_EQ(kill(process, 0), -1) << "it is a zombie, or alive";
  EXPECT_EQ(events_.size(), 0u) << "nothing follows DiedEvent";
  StageCommand late = submit(2, 1);
  EXPECT_TRUE(client->try_send(late)) << "a dead replica swallows commands";
}

TEST_F(ProcessStageClientTest, AnIdleWorkersDeathIsNoticedToo) {
  auto client = make("");
  await<ReadyEvent>();
  kill(client->process_id(), SIGABRT);  // which sanitizers do not catch
  EXPECT_THAT(cause_of_death(), HasSubstr("killed by signal 6"));
}

TEST_F(ProcessStageClientTest, AWorkerThatExitsIsQuotedWithItsLastWords) {
  auto client = make("words=out_of_paper exit=3");
  const std::string cause = cause_of_death();
  EXPECT_THAT(cause, HasSubstr("exited with code 3"));
  EXPECT_THAT(cause, HasSubstr("its last words were: out_of_paper"));
}

TEST_F(ProcessStageClientTest, GarbageOnTheSocketEndsTheReplica) {
  auto client = make("garbage");
  EXPECT_THAT(cause_of_death(), HasSubstr("does not begin as one"));
  const pid_t process = client->process_id();
  EXPECT_EQ(kill(process, 0), -1) << "the worker lives on";
}

TEST_F(ProcessStageClientTest, TellsWhatWasLoaded) {
  DualQueue<int64_t> limits(4);
  ProcessOptions options;
  options.on_loaded = [&](const WorkerLoaded& loaded) {
    limits.try_push(int64_t{loaded.max_prompt_tokens});
  };
  auto client = make("", options);
  await<ReadyEvent>();
  EXPECT_EQ(limits.try_pop(), 4711) << "known before the replica is ready";
}

TEST_F(ProcessStageClientTest, AMissingProgramIsNamed) {
  ProcessOptions options;
  options.program = "/nowhere/tutti-worker";
  auto client = make("", options);
  const std::string cause = cause_of_death();
  EXPECT_THAT(cause, HasSubstr("/nowhere/tutti-worker"));
  EXPECT_THAT(cause, HasSubstr("TUTTI_WORKER"));
}

TEST_F(ProcessStageClientTest, AProgramThatIsNoWorkerIsToldApart) {
  ProcessOptions options;
  options.program = "/bin/true";
  auto ends = make("", options);
  EXPECT_THAT(cause_of_death(), HasSubstr("exited with code 0"));
}

TEST_F(ProcessStageClientTest, AWorkerThatSaysNothingIsGivenUp) {
  ProcessOptions options;
  options.start_timeout_s = 0.05;
  setenv("TUTTI_FAKE_WORKER_SLEEPS", "1", 1);
  auto client = make("", options);
  EXPECT_THAT(cause_of_death(), HasSubstr("did not answer within 0.05 s"));
  unsetenv("TUTTI_FAKE_WORKER_SLEEPS");
}

// Issue 4: a stopped worker was waited for without end.
TEST_F(ProcessStageClientTest, AStoppedWorkerIsKilled) {
  for (const bool busy : {false, true}) {
    ProcessOptions options;
    options.silence_timeout_s = 1;
    auto client = make("step_ms=1", options);
    await<ReadyEvent>();
    if (busy) {
      StageCommand command = submit(1, 1 << 20);
      ASSERT_TRUE(client->try_send(command));
      await<OutputsEvent>();
    }
    const pid_t process = client->process_id();
    kill(process, SIGSTOP);
    const std::string cause = cause_of_death();
    EXPECT_THAT(cause, HasSubstr("stage 0, replica 1 has given no sign of life for 1 s"));
    EXPECT_EQ(kill(process, 0), -1) << "the worker lives on";
  }
}

TEST_F(ProcessStageClientTest, AWorkerThatIsStoppedWhileItLoadsIsKilled) {
  ProcessOptions options;
  options.silence_timeout_s = 1;
  options.on_progress = [this](double, const std::string&) {
    if (const pid_t process = process_.exchange(-1); process > 0) kill(process, SIGSTOP);
    return true;
  };
  auto client = make("progress gate=/nowhere/at/all", options);
  while (client->process_id() <= 0) std::this_thread::yield();
  process_ = client->process_id();
  EXPECT_THAT(cause_of_death(), HasSubstr("has given no sign of life for 1 s"));
}

TEST_F(ProcessStageClientTest, AWorkerThatHangsInLoadingIsKilled) {
  ProcessOptions options;
  options.load_timeout_s = 1;
  auto client = make("hang_load", options);
  EXPECT_THAT(cause_of_death(), HasSubstr("was not loaded within 1 s"));
}

TEST_F(ProcessStageClientTest, AStepThatHangsEndsTheWorker) {
  ProcessOptions options;
  options.step_timeout_s = 1;
  auto client = make("step_ms=600000", options);
  await<ReadyEvent>();
  StageCommand command = submit(1, 1);
  ASSERT_TRUE(client->try_send(command));
  EXPECT_THAT(cause_of_death(), HasSubstr("has been in the same step for 1 s"));
}

TEST_F(ProcessStageClientTest, ALongStepIsNoSilence) {
  ProcessOptions options;
  options.silence_timeout_s = 2.5;
  auto client = make("step_ms=4000", options);
  await<ReadyEvent>();
  StageCommand command = submit(1, 1);
  ASSERT_TRUE(client->try_send(command));
  const auto outputs = await<OutputsEvent>();
  ASSERT_TRUE(outputs.has_value());
  EXPECT_TRUE(outputs->outputs[0].finished);
}

TEST_F(ProcessStageClientTest, AWorkerThatDoesNotStopIsKilled) {
  auto client = make("step_ms=600000");
  await<ReadyEvent>();
  StageCommand command = submit(1, 1);
  ASSERT_TRUE(client->try_send(command));
  const pid_t process = client->process_id();
  client->stop();
  EXPECT_TRUE(client->join(Deadline::after(0.05)));
  EXPECT_EQ(kill(process, 0), -1);
}

TEST_F(ProcessStageClientTest, AMessageBeyondTheLimitFailsItsRequestOnly) {
  ProcessOptions options;
  options.channel.max_body_bytes = 1 << 20;
  auto client = make("echo", options);
  await<ReadyEvent>();
  auto request = std::make_unique<StageRequest>();
  request->key = RequestKey(1);
  request->input.payload.tensors["t"] = Tensor::zeros({1 << 19});
  StageCommand large = SubmitCommand{std::move(request), {}, true};
  ASSERT_TRUE(client->try_send(large));
  StageCommand small = submit(2, 1);
  ASSERT_TRUE(client->try_send(small));
  std::map<uint64_t, Status> ends;
  while (ends.size() < 2) {
    auto outputs = await<OutputsEvent>();
    ASSERT_TRUE(outputs.has_value());
    for (StageOutput& output : outputs->outputs) ends[output.key.value] = output.error;
  }
  EXPECT_THAT(ends[1].message(), HasSubstr("too large for a worker process"));
  EXPECT_TRUE(ends[2].ok());
}

TEST_F(ProcessStageClientTest, NothingIsLeftOpen) {
  make("").reset();
  const size_t before = open_descriptors();
  for (int i = 0; i < 5; ++i) {
    auto client = make(i % 2 == 0 ? "step_ms=1" : "echo");
    await<ReadyEvent>();
    StageCommand command = submit(1, 4);
    ASSERT_TRUE(client->try_send(command));
    await<OutputsEvent>();
    if (i == 2) {
      kill(client->process_id(), SIGKILL);
      await<DiedEvent>();
    }
    client.reset();
  }
  EXPECT_EQ(open_descriptors(), before);
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1) << "a child is left";
}

// A process in between starts a worker and is killed: the worker must go, too. The worker waits in
// loading, so that it cannot end by itself.
TEST_F(ProcessStageClientTest, TheWorkerDiesWithItsParent) {
  std::array<int, 2> ends = {-1, -1};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  const UniqueFd mine(ends[0]);
  UniqueFd other(ends[1]);
  auto parent =
      ChildProcess::start(TUTTI_FAKE_WORKER, {"--be-parent"}, {.descriptor = other.get()});
  ASSERT_TRUE(parent.ok()) << parent.error().message();
  other.reset();
  pid_t worker = -1;
  ASSERT_EQ(read(mine.get(), &worker, sizeof worker), static_cast<ssize_t>(sizeof worker));
  ASSERT_GT(worker, 0);
  EXPECT_EQ(kill(worker, 0), 0);
  const UniqueFd end(static_cast<int>(syscall(SYS_pidfd_open, worker, 0)));
  parent->kill();
  EXPECT_TRUE(parent->wait(soon()));
  pollfd ended = {end.get(), POLLIN, 0};
  EXPECT_EQ(poll(&ended, 1, 60'000), 1) << "the worker has outlived its parent";
}

}  // namespace
}  // namespace tutti
