#include "stages/memory_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>

#include "base/strings.h"
#include "engine/ar/kv_cache.h"
#include "weights/weight_loader.h"

namespace tutti {

namespace {

// Left to the rest of the machine: 5 %, at least 256 MiB.
constexpr double kReserveShare = 0.05;
constexpr int64_t kLeastReserve = int64_t{256} << 20;

std::string human(int64_t bytes) { return human_bytes(static_cast<double>(bytes)); }

// A number from a one-line file; -1 when there is none ("max").
int64_t read_number(const std::string& path) {
  std::ifstream in(path);
  int64_t value = -1;
  return in >> value ? value : -1;
}

// Page cache of the control group, which gives way.
int64_t reclaimable(const std::string& stat_path) {
  std::ifstream in(stat_path);
  int64_t sum = 0;
  int64_t value = 0;
  for (std::string key; in >> key >> value;) {
    if (key == "inactive_file" || key == "active_file") sum += value;
  }
  return sum;
}

// What the control group leaves; INT64_MAX when it has no limit.
int64_t cgroup_available() {
  std::ifstream in("/proc/self/cgroup");
  std::string line;
  std::getline(in, line);  // version 2: "0::/path"
  const std::string group = line.starts_with("0::") ? line.substr(3) : "";
  // Inside a container the own group is the root of what is mounted.
  for (const std::string& dir : {"/sys/fs/cgroup" + group, std::string("/sys/fs/cgroup")}) {
    const int64_t max = read_number(dir + "/memory.max");
    if (max < 0) continue;
    const int64_t used = std::max<int64_t>(0, read_number(dir + "/memory.current"));
    return max - std::max<int64_t>(0, used - reclaimable(dir + "/memory.stat"));
  }
  return INT64_MAX;
}

StageEngineOptions kv_options(const StageOptions& stage) {
  return {.max_num_seqs = *stage.max_num_seqs,
          .kv_cache_bytes = stage.kv_cache_bytes.value_or(INT64_MAX),
          .block_size = *stage.block_size};
}

int64_t context_length(const ArModelInfo& info, const StageOptions& stage) {
  return std::min<int64_t>(info.max_model_len, stage.max_model_len.value_or(INT32_MAX));
}

int64_t kv_bytes(const ArModelInfo& info, const StageOptions& stage) {
  return ar::kv_num_blocks(info, kv_options(stage), context_length(info, stage)) *
         ar::kv_bytes_per_block(info, *stage.block_size);
}

StageMemory stage_memory(const StageFootprint& print, const EngineConfig& config, size_t s) {
  const StageOptions& stage = config.options.stages[s];
  StageMemory out{.name = config.stage_names[s],
                  .device = stage.devices,
                  .num_replicas = stage.num_replicas,
                  .worker_process = stage.worker_process,
                  .mapped_weight_bytes = print.mapped_weight_bytes,
                  .copied_weight_bytes = print.copied_weight_bytes};
  if (print.ar) out.kv_cache_bytes = kv_bytes(*print.ar, stage);
  out.state_bytes = print.bytes_per_sequence * *stage.max_num_seqs;
  out.mm_cache_bytes = print.caches_media ? config.options.mm_cache_bytes : 0;
  out.workspace_bytes = print.workspace_bytes;
  return out;
}

// A length beyond the model's is cut, and shown so.
void cut_length(const ArModelInfo& info, EngineConfig& config, size_t s) {
  std::optional<int32_t>& length = config.options.stages[s].max_model_len;
  if (!length || *length <= info.max_model_len) return;
  Setting& shown = config.stages[s]["max_model_len"];
  shown.note = fmt::format("{} is more than the model has", *length);
  length = static_cast<int32_t>(info.max_model_len);
  shown.value = std::to_string(*length);
}

// A stage's share of the memory, less what is not its KV cache, becomes its KV cache.
Status size_by_share(const StageFootprint& print, int64_t device_bytes, EngineConfig& config,
                     size_t s) {
  StageOptions& stage = config.options.stages[s];
  if (!stage.gpu_memory_utilization || stage.kv_cache_bytes) return {};
  const auto share =
      static_cast<int64_t>(*stage.gpu_memory_utilization * static_cast<double>(device_bytes));
  const int64_t rest = print.mapped_weight_bytes + print.copied_weight_bytes +
                       print.workspace_bytes + print.bytes_per_sequence * *stage.max_num_seqs +
                       (print.caches_media ? config.options.mm_cache_bytes : 0);
  const int64_t block = print.ar ? ar::kv_bytes_per_block(*print.ar, *stage.block_size) : 0;
  if (share < rest + block) {
    return resource_exhausted(fmt::format(
        "`gpu_memory_utilization` of stage {} ({}) is {:g}, which is {} of {}; weights, scratch "
        "and caches take {} and a KV block {}.",
        s, config.stage_names[s], *stage.gpu_memory_utilization, human(share), human(device_bytes),
        human(rest), human(block)));
  }
  stage.kv_cache_bytes = std::max<int64_t>(1, share - rest);
  return {};
}

DeviceMemory device_memory(const std::string& device, const std::vector<StageMemory>& stages,
                           const HostMemory& memory, bool given) {
  DeviceMemory out{.device = device,
                   .needed_bytes = 0,
                   .available_bytes = memory.available_bytes,
                   .workspace_bytes = 0,
                   .limit = memory.limit,
                   .limit_is_given = given};
  for (const StageMemory& stage : stages) {
    if (stage.device != device) continue;
    out.needed_bytes += stage.total_bytes();
    if (stage.worker_process) {
      out.needed_bytes += stage.num_replicas * stage.workspace_bytes;
    } else {
      out.workspace_bytes = std::max(out.workspace_bytes, stage.workspace_bytes);
    }
  }
  out.needed_bytes += out.workspace_bytes;
  return out;
}

}  // namespace

int64_t StageMemory::total_bytes() const {
  const int32_t copies = worker_process ? num_replicas : 1;
  return mapped_weight_bytes + copies * copied_weight_bytes +
         num_replicas * (kv_cache_bytes + state_bytes + mm_cache_bytes);
}

int64_t StageMemory::replica_bytes() const {
  return kv_cache_bytes + state_bytes + mm_cache_bytes +
         (worker_process ? copied_weight_bytes + workspace_bytes : 0);
}

HostMemory host_memory() {
  const size_t machine = available_host_bytes();
  const int64_t group = cgroup_available();
  const bool limited = static_cast<uint64_t>(group) < machine;
  const auto free = limited ? group : static_cast<int64_t>(std::min<size_t>(machine, INT64_MAX));
  const auto share = static_cast<int64_t>(kReserveShare * static_cast<double>(free));
  const int64_t reserve = std::max(kLeastReserve, share);
  return {std::max<int64_t>(0, free - reserve),
          fmt::format("{} {}, less a reserve of {}", human(free),
                      limited ? "left in the control group" : "available on the machine",
                      human(reserve))};
}

LoadOptions stage_load_options(const LoadOptions& common, const EngineOptions& options, size_t s) {
  LoadOptions load = common;
  load.max_num_seqs = *options.stages[s].max_num_seqs;
  return load;
}

Result<MemoryPlan> plan_memory(const Pipeline& pipeline, const LoadOptions& load, int num_threads,
                               EngineConfig& config) {
  const EngineOptions& options = config.options;
  const HostMemory memory = options.device_memory_bytes > 0
                                ? HostMemory{options.device_memory_bytes, "device_memory_bytes"}
                                : host_memory();
  MemoryPlan plan;
  std::vector<std::string> devices;
  for (size_t s = 0; s < config.stage_names.size(); ++s) {
    const StageOptions& stage = options.stages[s];
    TUTTI_ASSIGN_OR_RETURN(
        const StageFootprint print,
        pipeline.footprint(static_cast<int32_t>(s), stage_load_options(load, options, s),
                           {.max_num_seqs = *stage.max_num_seqs,
                            .max_num_batched_tokens = *stage.max_num_batched_tokens,
                            .num_threads = num_threads}));
    TUTTI_RETURN_IF_ERROR(size_by_share(print, memory.available_bytes, config, s));
    if (print.ar) cut_length(*print.ar, config, s);
    plan.stages.push_back(stage_memory(print, config, s));
    if (std::ranges::find(devices, stage.devices) == devices.end()) {
      devices.push_back(stage.devices);
    }
  }
  for (const std::string& device : devices) {
    plan.devices.push_back(
        device_memory(device, plan.stages, memory, options.device_memory_bytes > 0));
  }
  return plan;
}

std::string MemoryPlan::table() const {
  std::string out;
  for (const DeviceMemory& device : devices) {
    for (const StageMemory& stage : stages) {
      if (stage.device != device.device) continue;
      std::string parts = human(stage.mapped_weight_bytes + stage.copied_weight_bytes) + " weights";
      if (stage.kv_cache_bytes > 0) parts += " + " + human(stage.kv_cache_bytes) + " KV cache";
      if (stage.state_bytes > 0) parts += " + " + human(stage.state_bytes) + " state";
      if (stage.mm_cache_bytes > 0) parts += " + " + human(stage.mm_cache_bytes) + " media cache";
      if (stage.worker_process) parts += " + " + human(stage.workspace_bytes) + " scratch";
      if (stage.num_replicas > 1) parts += fmt::format(", {} replicas", stage.num_replicas);
      const int64_t scratch = stage.worker_process ? stage.num_replicas * stage.workspace_bytes : 0;
      out += fmt::format("{:<6} {:<12} {:>10}  {}\n", device.device, stage.name,
                         human(stage.total_bytes() + scratch), parts);
    }
    out += fmt::format("{:<6} {:<12} {:>10}  of the largest step\n", device.device, "scratch",
                       human(device.workspace_bytes));
    out += fmt::format("{:<6} {:<12} {:>10}  available {} ({})\n", device.device, "sum",
                       human(device.needed_bytes), human(device.available_bytes), device.limit);
  }
  return out;
}

Status MemoryPlan::check_added(int32_t stage, int32_t num_replicas) const {
  const StageMemory& of_stage = stages[static_cast<size_t>(stage)];
  const auto device = std::ranges::find(devices, of_stage.device, &DeviceMemory::device);
  int64_t available = 0;
  std::string limit;
  if (device->limit_is_given) {
    const int64_t more = int64_t{num_replicas} - of_stage.num_replicas;
    available = device->available_bytes - device->needed_bytes - more * of_stage.replica_bytes();
    limit = "left of device_memory_bytes";
  } else {
    HostMemory memory = host_memory();
    available = memory.available_bytes;
    limit = std::move(memory.limit);
  }
  if (of_stage.replica_bytes() <= available) return {};
  return resource_exhausted(fmt::format(
      "A further replica of stage {} ({}) needs {} and has {} ({}).", stage, of_stage.name,
      human(of_stage.replica_bytes()), human(std::max<int64_t>(0, available)), limit));
}

Status MemoryPlan::check() const {
  std::string sums;
  for (const DeviceMemory& device : devices) {
    if (device.needed_bytes <= device.available_bytes) continue;
    sums += fmt::format("{}{} needs {} and has {}", sums.empty() ? "" : ", ", device.device,
                        human(device.needed_bytes), human(device.available_bytes));
  }
  if (sums.empty()) return {};
  std::string lines = table();
  lines.pop_back();  // its last end of line
  return resource_exhausted(fmt::format(
      "The stages do not fit the memory: {}. Lower kv_cache_memory_bytes, max_num_seqs, "
      "max_num_batched_tokens, mm_cache_bytes or num_replicas.\n{}",
      sums, lines));
}

}  // namespace tutti
