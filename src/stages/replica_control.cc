// The control methods of a replica.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/strings.h"
#include "stages/replica_core.h"

namespace tutti {

namespace json = boost::json;

struct ReplicaCore::Method {
  std::string name;
  std::vector<std::string> args;
  Result<std::string> (ReplicaCore::*run)(const json::object& args);
};

namespace {

std::string null_result() { return "null"; }

Result<json::object> parse_args(const RpcCommand& command) {
  if (command.args_json.empty()) return json::object();
  boost::system::error_code error;
  json::value value = json::parse(command.args_json, error);
  if (!error && value.is_object()) return std::move(value.as_object());
  if (!error && value.is_null()) return json::object();
  return invalid_argument(fmt::format("The arguments of '{}' are not a JSON object: {}.",
                                      command.method, command.args_json.substr(0, 80)));
}

Status check_args(const std::string& method, const json::object& args,
                  const std::vector<std::string>& allowed) {
  for (const auto& [key, value] : args) {
    const std::string name(key);
    if (std::find(allowed.begin(), allowed.end(), name) != allowed.end()) continue;
    return invalid_argument(
        fmt::format("The control method '{}' has no argument '{}'; it takes {}.", method, name,
                    allowed.empty() ? "none" : join(allowed)));
  }
  return {};
}

}  // namespace

std::span<const ReplicaCore::Method> ReplicaCore::methods() {
  static const std::vector<Method> all = {
      {"ping", {}, &ReplicaCore::ping},
      {"stats", {}, &ReplicaCore::report_stats},
      {"reset_prefix_cache", {}, &ReplicaCore::reset_prefix_cache},
      {"reset_mm_cache", {}, &ReplicaCore::reset_mm_cache},
      {"pause", {}, &ReplicaCore::pause},
      {"resume", {}, &ReplicaCore::resume},
      {"sleep", {"level"}, &ReplicaCore::sleep},
      {"wake_up", {}, &ReplicaCore::wake_up},
      {"start_profile", {"path"}, &ReplicaCore::start_profile},
      {"stop_profile", {}, &ReplicaCore::stop_profile},
  };
  return all;
}

Result<std::string> ReplicaCore::call(const RpcCommand& command) {
  try {
    std::vector<std::string> names;
    for (const Method& method : methods()) {
      names.push_back(method.name);
      if (method.name != command.method) continue;
      TUTTI_ASSIGN_OR_RETURN(const json::object args, parse_args(command));
      TUTTI_RETURN_IF_ERROR(check_args(command.method, args, method.args));
      return (this->*method.run)(args);
    }
    if (engine_) {
      if (auto result = engine_->control(command.method, command.args_json)) return *result;
      for (std::string& name : engine_->control_methods()) names.push_back(std::move(name));
    }
    // Its engine may well know the method.
    if (!engine_) return check_awake();
    return not_found(fmt::format("The control method '{}' is unknown; this stage has: {}.",
                                 command.method, join(names)));
  } catch (...) {
    return status_of_current_exception("The control method '" + command.method + "'");
  }
}

Result<std::string> ReplicaCore::ping(const json::object&) { return std::string("\"pong\""); }

Result<std::string> ReplicaCore::report_stats(const json::object&) {
  const EngineStats s = stats();
  const char* state = sleep_level_ > 0 ? "asleep" : paused_ ? "paused" : "running";
  return json::serialize(json::object{{"state", state},
                                      {"waiting", s.waiting},
                                      {"running", s.running},
                                      {"blocked", s.blocked},
                                      {"kv_blocks_total", s.kv_blocks_total},
                                      {"kv_blocks_used", s.kv_blocks_used},
                                      {"preemptions", s.preemptions},
                                      {"prefix_query_tokens", s.prefix_query_tokens},
                                      {"prefix_hit_tokens", s.prefix_hit_tokens},
                                      {"steps", s.steps},
                                      {"busy_s", s.busy_s}});
}

Result<std::string> ReplicaCore::reset_prefix_cache(const json::object&) {
  if (engine_) engine_->reset_prefix_cache();
  return null_result();
}

Result<std::string> ReplicaCore::reset_mm_cache(const json::object&) {
  if (engine_) engine_->reset_mm_cache();
  return null_result();
}

Result<std::string> ReplicaCore::pause(const json::object&) {
  paused_ = true;
  return null_result();
}

Result<std::string> ReplicaCore::resume(const json::object&) {
  paused_ = false;
  return null_result();
}

Result<std::string> ReplicaCore::sleep(const json::object& args) {
  int level = 1;
  if (const json::value* given = args.if_contains("level")) {
    const int64_t* number = given->if_int64();
    if (number == nullptr || (*number != 1 && *number != 2)) {
      return invalid_argument(
                 fmt::format(
                     "`level` is {}; it must be 1 (the KV cache is given back) or 2 (the weights "
                     "too).",
                     json::serialize(*given)))
          .with_param("level");
    }
    level = static_cast<int>(*number);
  }
  if (sleep_level_ >= level) return null_result();
  const EngineStats s = stats();
  int64_t live = s.waiting + s.running;
  if (engine_ && engine_->has_runnable_work()) live = std::max<int64_t>(live, 1);  // an end to tell
  if (live > 0) {
    return invalid_argument(fmt::format("The replica of {} cannot sleep: {} request{} in progress.",
                                        graph_->describe(stage_), live,
                                        live == 1 ? " is" : "s are"));
  }
  if (level == 2 && !factory_)
    return unimplemented("This replica cannot give its weights back; `level` 1 is allowed.");
  if (sleep_level_ == 0) TUTTI_RETURN_IF_ERROR(engine_->sleep());
  if (level == 2) engine_.reset();
  sleep_level_ = level;
  return null_result();
}

Result<std::string> ReplicaCore::wake_up(const json::object&) {
  if (sleep_level_ == 1) TUTTI_RETURN_IF_ERROR(engine_->wake_up());
  if (sleep_level_ == 2) {
    TUTTI_ASSIGN_OR_RETURN(engine_, factory_());
  }
  sleep_level_ = 0;
  return null_result();
}

// path: where stop_profile writes, with the stage and the replica in the file's name, since all
// replicas are given the same; without it, it answers with the profile itself.
Result<std::string> ReplicaCore::start_profile(const json::object& args) {
  constexpr size_t kMostEvents = 200'000;
  if (profile_)
    return invalid_argument("A profile is being recorded already; stop_profile ends it.");
  profile_path_.clear();
  if (const json::value* path = args.if_contains("path")) {
    if (!path->is_string() || path->as_string().empty()) {
      return invalid_argument(fmt::format("`path` is {}; it must be the name of a file.",
                                          json::serialize(*path)))
          .with_param("path");
    }
    std::filesystem::path file(std::string(path->as_string()));
    const std::string extension = file.extension().string();
    file.replace_filename(
        fmt::format("{}-stage{}-replica{}{}", file.stem().string(), stage_, replica_, extension));
    // Now, not when the steps have been recorded.
    if (!std::ofstream(file, std::ios::app)) {
      return invalid_argument(fmt::format("The file '{}' cannot be written: {}.", file.string(),
                                          std::strerror(errno)))
          .with_param("path");
    }
    profile_path_ = file.string();
  }
  profile_ = std::make_unique<TraceRecorder>(kMostEvents, Clock::steady().now());
  profile_->set_enabled(true);
  profile_->name_track({stage_, 0}, graph_->describe(stage_), "steps");
  return null_result();
}

Result<std::string> ReplicaCore::stop_profile(const json::object&) {
  if (!profile_) return invalid_argument("No profile is being recorded; start_profile begins one.");
  const std::unique_ptr<TraceRecorder> profile = std::move(profile_);
  if (profile_path_.empty()) return profile->to_json();
  TUTTI_RETURN_IF_ERROR(profile->write(profile_path_));
  return json::serialize(json::value(profile_path_));
}

// One span of the step with its three parts inside.
void ReplicaCore::record_step(const StepReport& step) {
  const TraceTrack track{stage_, 0};
  const double now = profile_->now_s();
  const TimePoint clock = Clock::steady().now();
  const auto at = [&](TimePoint time) { return now - to_seconds(clock - time); };
  profile_->span(
      track, "step", at(step.begin), at(step.published),
      {{"sequences", std::to_string(step.sequences)}, {"tokens", std::to_string(step.tokens)}});
  profile_->span(track, "schedule", at(step.begin), at(step.scheduled));
  profile_->span(track, "run", at(step.scheduled), at(step.ran),
                 {{"on_device_ms", fmt::format("{:.3f}", 1e3 * step.on_device_s)}});
  profile_->span(track, "publish", at(step.ran), at(step.published));
}

}  // namespace tutti
