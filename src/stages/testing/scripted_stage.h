// Stages that misbehave as a word tells them to, in this process or in a worker, so that one test
// suite holds for both: "gate=FILE fault=step_error".
//
// Words: fail_load, throw_load, hang_load, gate=FILE (loading waits for the file), progress
// (reports how far), words=TEXT (on stderr), exit=CODE (while loading), garbage (on the socket,
// after loading), fault=NAME (of request 1), throwing_step, step_ms=N, tokens_per_step=N, echo
// (payloads come back).
#pragma once

#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string>
#include <thread>

#include "base/child_process.h"
#include "base/log.h"
#include "stages/testing/fake_stage_engine.h"
#include "stages/worker_server.h"

namespace tutti::fake {

// The value behind `name=` in the script, or an empty string.
inline std::string script_value(const std::string& script, const std::string& name) {
  std::istringstream words(script);
  for (std::string word; words >> word;) {
    if (word.starts_with(name + "=")) return word.substr(name.size() + 1);
  }
  return "";
}
inline bool script_has(const std::string& script, const std::string& name) {
  std::istringstream words(script);
  for (std::string word; words >> word;) {
    if (word == name) return true;
  }
  return false;
}

// Gives every payload back as it came.
class EchoEngine final : public StageEngine {
 public:
  Status admit(StageRequest request) override {
    return put(request.key, std::move(request.input.payload), request.input.last);
  }
  void append(StageChunk chunk) override {
    (void)put(chunk.key, std::move(chunk.payload), chunk.last);
  }
  std::optional<StageOutput> abort(RequestKey) override { return std::nullopt; }
  bool has_runnable_work() const override { return !outputs_.empty(); }
  void step(std::vector<StageOutput>& outputs) override {
    for (StageOutput& output : outputs_) outputs.push_back(std::move(output));
    outputs_.clear();
  }
  EngineStats stats() const override { return {}; }

 private:
  Status put(RequestKey key, StagePayload payload, bool last) {
    StageOutput output;
    output.key = key;
    output.payload = std::move(payload);
    output.finished = last;
    if (last) output.delta.finish_reason = FinishReason::kStop;
    outputs_.push_back(std::move(output));
    return {};
  }
  std::vector<StageOutput> outputs_;
};

// Behaves like the fake engine until its script says otherwise.
class ScriptedEngine final : public StageEngine {
 public:
  ScriptedEngine(std::unique_ptr<StageEngine> inner, std::string script)
      : inner_(std::move(inner)),
        script_(std::move(script)),
        step_(std::atoi(script_value(script_, "step_ms").c_str())) {}
  Status admit(StageRequest request) override { return inner_->admit(std::move(request)); }
  void append(StageChunk chunk) override { inner_->append(std::move(chunk)); }
  std::optional<StageOutput> abort(RequestKey key) override { return inner_->abort(key); }
  bool has_runnable_work() const override { return inner_->has_runnable_work(); }
  void step(std::vector<StageOutput>& outputs) override {
    if (script_has(script_, "throwing_step")) throw std::runtime_error("wild pointer");
    std::this_thread::sleep_for(step_);
    inner_->step(outputs);
  }
  EngineStats stats() const override { return inner_->stats(); }

 private:
  const std::unique_ptr<StageEngine> inner_;
  const std::string script_;
  const std::chrono::milliseconds step_;
};

inline Fault fault_named(const std::string& name) {
  if (name == "admit_error") return Fault::kAdmitError;
  if (name == "admit_throw") return Fault::kAdmitThrow;
  if (name == "append_throw") return Fault::kAppendThrow;
  if (name == "step_error") return Fault::kStepError;
  return Fault::kNone;
}

inline std::shared_ptr<const StageGraph> scripted_graph() {
  return std::make_shared<const StageGraph>(StageGraph::build(omni_specs()).value());
}

inline Result<std::unique_ptr<StageEngine>> scripted_engine(int32_t stage,
                                                            const std::string& script,
                                                            const WorkerProgressReport& report) {
  if (const std::string words = script_value(script, "words"); !words.empty()) {
    std::fputs((words + "\n").c_str(), stderr);
  }
  if (const std::string code = script_value(script, "exit"); !code.empty()) {
    _exit(std::atoi(code.c_str()));
  }
  if (script_has(script, "fail_load")) return not_found("The file 'x.safetensors' is missing.");
  if (script_has(script, "throw_load")) throw std::runtime_error("out of luck");
  if (script_has(script, "hang_load")) pause();
  if (script_has(script, "progress")) report(0.5, "reading half of it");
  const std::string gate = script_value(script, "gate");
  while (!gate.empty() && !std::filesystem::exists(gate)) {
    if (!report(0, "waiting")) return unavailable("Nobody waits any more.");
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  if (script_has(script, "garbage")) {
    const std::string garbage =
        "this is no packet, whatever else it may be; it is long enough, too";
    (void)!::write(kChildDescriptor, garbage.data(), garbage.size());
  }
  FakeOptions options;
  if (const std::string n = script_value(script, "tokens_per_step"); !n.empty()) {
    options.tokens_per_step = std::atoi(n.c_str());
  }
  options.fault = [fault = fault_named(script_value(script, "fault"))](RequestKey key, int32_t) {
    return key.value == 1 ? fault : Fault::kNone;
  };
  std::unique_ptr<StageEngine> inner;
  if (script_has(script, "echo")) {
    inner = std::make_unique<EchoEngine>();
  } else {
    inner = std::make_unique<FakeStageEngine>(stage, stage == 0, options);
  }
  return std::unique_ptr<StageEngine>(std::make_unique<ScriptedEngine>(std::move(inner), script));
}

}  // namespace tutti::fake
