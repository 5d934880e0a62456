#include "engine/ar/lora_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <filesystem>

#include "base/strings.h"
#include "weights/weight_loader.h"

namespace tutti::ar {

namespace json = boost::json;

namespace {

// A string field of a control method's arguments; empty when absent.
Result<std::string> text_field(const json::object& args, std::string_view key) {
  const json::value* value = args.if_contains(key);
  if (value == nullptr || value->is_null()) return std::string();
  if (value->is_string()) return std::string(value->get_string());
  return invalid_argument(
             fmt::format("`{}` is {}; it must be a string.", key, json::serialize(*value)))
      .with_param(std::string(key));
}

// Adapters are no part of the memory plan, which would have to reserve the most they may come to.
Status check_memory(const std::string& path) {
  std::error_code error;
  const auto file =
      std::filesystem::file_size(std::filesystem::path(path) / "adapter_model.safetensors", error);
  if (error) return {};                                 // read_lora() says what is wrong
  const double needed = 2 * static_cast<double>(file);  // F16 becomes F32
  const auto available = static_cast<double>(available_host_bytes());
  if (needed <= available) return {};
  return resource_exhausted(fmt::format("The adapter in '{}' may need {}; available are {}.", path,
                                        human_bytes(needed), human_bytes(available)))
      .with_param("lora_path");
}

Status no_adapters() { return unimplemented("This stage's model takes no adapters."); }

}  // namespace

LoraStore::LoraStore(const LoraTargets& targets, int32_t max_loras, int32_t max_rank)
    : targets_(targets),
      max_loras_(static_cast<size_t>(std::max(max_loras, 0))),
      max_rank_(max_rank) {}

LoraStore::Entry* LoraStore::find(const std::string& name) {
  const auto found = std::ranges::find(entries_, name, &Entry::name);
  if (found == entries_.end()) return nullptr;
  std::rotate(found, found + 1, entries_.end());
  return &entries_.back();
}

Status LoraStore::unknown(const std::string& name) const {
  std::vector<std::string> names;
  for (const Entry& entry : entries_) names.push_back("'" + entry.name + "'");
  return not_found(fmt::format("There is no adapter '{}'; loaded are: {}.", name,
                               names.empty() ? "none" : join(names)))
      .with_param("lora_name");
}

size_t LoraStore::num_retired() {
  std::erase_if(retired_, [](const Retired& retired) { return retired.adapter.expired(); });
  return retired_.size();
}

void LoraStore::retire_last() {
  Entry& entry = entries_.back();
  if (entry.in_use()) retired_.push_back({entry.name, entry.path, entry.adapter});
  entries_.pop_back();
}

Status LoraStore::make_room() {
  if (entries_.size() + num_retired() < max_loras_) return {};
  const auto idle = std::ranges::find_if(
      entries_, [](const Entry& entry) { return !entry.pinned && !entry.in_use(); });
  if (idle != entries_.end()) {
    entries_.erase(idle);
    return {};
  }
  Status full = resource_exhausted(
                    fmt::format("All {} places for adapters are taken by pinned ones and ones in "
                                "use (`max_loras`).",
                                max_loras_))
                    .with_param("lora_name");
  // What is only in use makes room when its requests have ended.
  constexpr double kRetryAfter_s = 1;
  const bool all_pinned = std::ranges::all_of(entries_, &Entry::pinned) && num_retired() == 0;
  return all_pinned ? full : std::move(full).with_retry_after(kRetryAfter_s);
}

Status LoraStore::add(const std::string& name, const std::string& path) {
  if (targets_.maps.empty()) return no_adapters();
  if (name.empty() || path.empty()) {
    const char* missing = name.empty() ? "lora_name" : "lora_path";
    return invalid_argument(
               fmt::format("`{}` is empty; an adapter has a name and a directory.", missing))
        .with_param(missing);
  }
  const Entry* known = find(name);
  if (known != nullptr && known->added) {
    if (known->path == path) return {};
    return Status(
               StatusCode::kAlreadyExists,
               fmt::format("The adapter '{}' has been loaded from '{}'; remove it before loading "
                           "one of that name from '{}'.",
                           name, known->path, path))
        .with_param("lora_path");
  }
  TUTTI_RETURN_IF_ERROR(check_memory(path));
  // Read first: an adapter that cannot be used drives no other out.
  TUTTI_ASSIGN_OR_RETURN(std::shared_ptr<const LoraAdapter> adapter,
                         read_lora(path, targets_, max_rank_));
  // Read for a request that was accepted when the name meant something else.
  if (known != nullptr) retire_last();
  TUTTI_RETURN_IF_ERROR(make_room());
  entries_.push_back({name, path, std::move(adapter), true, false});
  return {};
}

Status LoraStore::remove(const std::string& name) {
  Entry* entry = find(name);
  if (entry == nullptr) return unknown(name);
  retire_last();
  return {};
}

Status LoraStore::pin(const std::string& name) {
  Entry* entry = find(name);
  if (entry == nullptr) return unknown(name);
  entry->pinned = true;
  return {};
}

Result<std::shared_ptr<const LoraAdapter>> LoraStore::use(const std::string& name,
                                                          const std::string& path) {
  const Entry* known = find(name);
  if (known != nullptr && (path.empty() || known->path == path)) return known->adapter;
  if (path.empty()) return unknown(name);
  if (targets_.maps.empty()) return no_adapters();
  for (const Retired& retired : retired_) {
    if (retired.name != name || retired.path != path) continue;
    if (auto adapter = retired.adapter.lock()) return adapter;
  }
  const bool name_is_free = known == nullptr;
  TUTTI_RETURN_IF_ERROR(check_memory(path));
  TUTTI_ASSIGN_OR_RETURN(std::shared_ptr<const LoraAdapter> adapter,
                         read_lora(path, targets_, max_rank_));
  TUTTI_RETURN_IF_ERROR(make_room());
  if (name_is_free) {
    entries_.push_back({name, path, adapter, false, false});
  } else {
    retired_.push_back({name, path, adapter});
  }
  return adapter;
}

std::string LoraStore::list() const {
  json::array all;
  for (const Entry& entry : entries_) {
    all.push_back({{"lora_name", entry.name},
                   {"lora_path", entry.path},
                   {"rank", entry.adapter->rank},
                   {"bytes", entry.adapter->bytes},
                   {"pinned", entry.pinned},
                   {"in_use", entry.in_use()}});
  }
  return json::serialize(all);
}

std::optional<Result<std::string>> LoraStore::control(const std::string& method,
                                                      const std::string& args_json) {
  if (method == "list_loras") return list();
  if (method != "add_lora" && method != "remove_lora" && method != "pin_lora") return std::nullopt;
  boost::system::error_code error;
  const json::value args = json::parse(args_json.empty() ? "{}" : args_json, error);
  if (error || !args.is_object()) {
    return invalid_argument(fmt::format(
        "The arguments of {} are not a JSON object; expected {{\"lora_name\": ...}}.", method));
  }
  const auto call = [&]() -> Status {
    TUTTI_ASSIGN_OR_RETURN(const std::string name, text_field(args.get_object(), "lora_name"));
    TUTTI_ASSIGN_OR_RETURN(const std::string path, text_field(args.get_object(), "lora_path"));
    if (method == "add_lora") return add(name, path);
    return method == "remove_lora" ? remove(name) : pin(name);
  };
  Status status = call();
  if (!status.ok()) return Result<std::string>(std::move(status));
  return std::string("true");
}

}  // namespace tutti::ar
