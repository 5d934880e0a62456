#include "orchestrator/lora_registry.h"

#include <fmt/format.h>

#include <boost/json.hpp>

#include "base/strings.h"

namespace tutti {
namespace {

namespace json = boost::json;

// Stages whose models take no adapters say so; that is no failure.
bool takes_none(const Status& status) {
  return status.code() == StatusCode::kUnimplemented || status.code() == StatusCode::kNotFound;
}

Status lora_error(StatusCode code, std::string message) {
  return Status(code, std::move(message)).with_param("lora_request");
}

// The first failure, or that nobody took it.
Status outcome(const std::string& name, const std::vector<RpcResult>& results) {
  bool taken = false;
  for (const RpcResult& result : results) {
    if (result.status.ok()) {
      taken = true;
    } else if (!takes_none(result.status)) {
      return lora_error(result.status.code(),
                        fmt::format("The adapter '{}' cannot be loaded in stage {}: {}", name,
                                    result.stage_id, result.status.message()));
    }
  }
  if (taken) return {};
  return lora_error(StatusCode::kInvalidArgument,
                    fmt::format("The adapter '{}' cannot be used: no stage of this model takes "
                                "adapters.",
                                name));
}

}  // namespace

Status LoraRegistry::resolve(LoraRequest& request) {
  if (request.lora_name.empty()) {
    return lora_error(StatusCode::kInvalidArgument,
                      "`lora_name` is empty; any other string is allowed.");
  }
  for (const bool loading : {false, true}) {
    std::unique_lock only_one(loading_, std::defer_lock);
    if (loading) only_one.lock();
    {
      const std::lock_guard lock(mutex_);
      if (const auto known = paths_.find(request.lora_name); known != paths_.end()) {
        if (request.lora_path.empty()) request.lora_path = known->second;
        if (request.lora_path == known->second) return {};
        return lora_error(StatusCode::kInvalidArgument,
                          fmt::format("The adapter '{}' is loaded from '{}', not from '{}'; remove "
                                      "it first.",
                                      request.lora_name, known->second, request.lora_path));
      }
      if (request.lora_path.empty()) {
        std::vector<std::string> names;
        for (const auto& [name, path] : paths_) names.push_back("'" + name + "'");
        return lora_error(StatusCode::kInvalidArgument,
                          fmt::format("There is no adapter '{}'; loaded are: {}.",
                                      request.lora_name, names.empty() ? "none" : join(names)));
      }
    }
    if (loading) return load(request);
  }
  return {};
}

Status LoraRegistry::load(const LoraRequest& request) {
  const json::object arguments{{"lora_name", request.lora_name}, {"lora_path", request.lora_path}};
  TUTTI_ASSIGN_OR_RETURN(const std::vector<RpcResult> results,
                         rpc_("add_lora", json::serialize(arguments)));
  Status status = outcome(request.lora_name, results);
  if (!status.ok()) {
    // Stages that took it let go of it again; what they say of it helps nobody.
    const auto ignored =
        rpc_("remove_lora", json::serialize(json::object{{"lora_name", request.lora_name}}));
    (void)ignored;
    return status;
  }
  const std::lock_guard lock(mutex_);
  paths_[request.lora_name] = request.lora_path;
  return {};
}

void LoraRegistry::called(const std::string& method, const std::string& arguments_json,
                          const std::vector<RpcResult>& results) {
  const bool adds = method == "add_lora";
  if (!adds && method != "remove_lora") return;
  const json::value arguments = json::parse(arguments_json);
  const std::string name(arguments.at("lora_name").as_string());
  const bool taken = outcome(name, results).ok();
  const std::lock_guard lock(mutex_);
  if (!adds) {
    paths_.erase(name);
  } else if (taken) {
    paths_[name] = arguments.at("lora_path").as_string();
  }
}

}  // namespace tutti
