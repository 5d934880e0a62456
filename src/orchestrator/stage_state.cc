#include "orchestrator/stage_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <iterator>

namespace tutti {
namespace {

namespace json = boost::json;

std::string adapter_name(const std::string& args_json) {
  json::error_code error;
  const json::value args = json::parse(args_json.empty() ? "{}" : args_json, error);
  if (error || !args.is_object()) return "";
  const json::value* name = args.get_object().if_contains("lora_name");
  return name != nullptr && name->is_string() ? std::string(name->get_string()) : std::string();
}

int level_of(const std::string& args_json) {
  json::error_code error;
  const json::value args = json::parse(args_json.empty() ? "{}" : args_json, error);
  if (error || !args.is_object()) return 1;
  const json::value* level = args.get_object().if_contains("level");
  return level != nullptr && level->is_int64() && level->get_int64() == 2 ? 2 : 1;
}

RpcCommand command(const char* method, std::string args_json = "{}") {
  return {.ticket = 0, .method = method, .args_json = std::move(args_json)};
}

RpcCommand sleep_command(int level) {
  return command("sleep", fmt::format(R"({{"level":{}}})", level));
}

}  // namespace

bool StageState::changes(const std::string& method) {
  constexpr std::array kMethods = {"pause",       "resume",      "sleep",    "wake_up",  //
                                   "add_lora",    "remove_lora", "pin_lora", "start_profile",
                                   "stop_profile"};
  return std::ranges::find(kMethods, method) != kMethods.end();
}

void StageState::asked(const std::string& method, const std::string& args_json) {
  if (method == "pause" || method == "resume") {
    paused_ = method == "pause";
  } else if (method == "sleep") {
    sleep_level_ = std::max(sleep_level_, level_of(args_json));
  } else if (method == "wake_up") {
    sleep_level_ = 0;
  } else if (method == "stop_profile") {
    profile_args_.reset();
  } else if (method == "remove_lora") {
    std::erase_if(adapters_,
                  [name = adapter_name(args_json)](const Adapter& a) { return a.name == name; });
  }
}

bool StageState::done(const std::string& method, const std::string& args_json) {
  if (method == "start_profile") {
    profile_args_ = args_json;
  } else if (method == "add_lora") {
    add(adapter_name(args_json), args_json);
  } else if (method == "pin_lora") {
    const auto found = std::ranges::find(adapters_, adapter_name(args_json), &Adapter::name);
    if (found != adapters_.end()) found->pinned = true;
  } else {
    return false;
  }
  return true;
}

void StageState::add(const std::string& name, const std::string& args_json) {
  const auto known = std::ranges::find(adapters_, name, &Adapter::name);
  if (known != adapters_.end()) {
    known->add_args = args_json;
    return;
  }
  if (adapters_.size() >= max_loras_) {
    const auto oldest = std::ranges::find(adapters_, false, &Adapter::pinned);
    if (oldest == adapters_.end()) return;
    adapters_.erase(oldest);
  }
  adapters_.push_back({name, args_json, false});
}

std::vector<RpcCommand> StageState::adapters() const {
  std::vector<RpcCommand> commands;
  for (const Adapter& adapter : adapters_) {
    commands.push_back(command("add_lora", adapter.add_args));
    if (!adapter.pinned) continue;
    commands.push_back(
        command("pin_lora", json::serialize(json::object{{"lora_name", adapter.name}})));
  }
  return commands;
}

std::vector<RpcCommand> StageState::for_new_replica() const {
  // At level 2 the adapters come behind wake_up.
  std::vector<RpcCommand> commands;
  if (sleep_level_ < 2) commands = adapters();
  if (profile_args_) commands.push_back(command("start_profile", *profile_args_));
  if (paused_) commands.push_back(command("pause"));
  if (sleep_level_ > 0) commands.push_back(sleep_command(sleep_level_));
  return commands;
}

std::vector<RpcCommand> StageState::for_any_replica() const {
  std::vector<RpcCommand> commands;
  if (sleep_level_ == 0) commands.push_back(command("wake_up"));
  if (!paused_) commands.push_back(command("resume"));
  std::ranges::move(for_new_replica(), std::back_inserter(commands));
  return commands;
}

}  // namespace tutti
