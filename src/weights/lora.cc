#include "weights/lora.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <map>
#include <unordered_map>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/strings.h"
#include "weights/convert.h"
#include "weights/peft_config.h"
#include "weights/safetensors.h"
#include "weights/weight_loader.h"

namespace tutti {

namespace {

constexpr std::string_view kRoot = "base_model.model.";
constexpr std::string_view kDown = ".lora_A.weight";
constexpr std::string_view kUp = ".lora_B.weight";
constexpr const char* kWeightsFile = "adapter_model.safetensors";

// The two tensors of one module, as the file has them.
struct Module {
  std::string name;  // without "base_model.model."
  const SafetensorsEntry* a = nullptr;
  const SafetensorsEntry* b = nullptr;
};

class LoraReader {
 public:
  LoraReader(const SafetensorsFile& file, const PeftConfig& config, const LoraTargets& targets,
             int64_t max_rank)
      : file_(file), config_(config), targets_(targets), max_rank_(max_rank) {
    for (size_t i = 0; i < targets.maps.size(); ++i) by_name_.emplace(targets.maps[i].name, i);
  }

  Result<std::shared_ptr<const LoraAdapter>> read();

 private:
  Status collect();
  Status add(const Module& module);
  Status check_shape(const Module& module, const SafetensorsEntry& entry, std::string_view suffix,
                     const Shape& expected) const;
  Result<Tensor> load(const std::string& name, const SafetensorsEntry& entry) const;
  bool is_zero(const SafetensorsEntry& entry) const;
  // The module's name in the checkpoint; empty when another stage has it.
  std::string own_name(const std::string& name) const;
  Status unknown_target(const Module& module, const std::string& full_name) const;
  void hash(const Tensor& tensor);

  std::string tensor_name(const Module& module, std::string_view suffix) const {
    return std::string(kRoot) + module.name + std::string(suffix);
  }
  std::string in_file(const std::string& tensor) const {
    return "Tensor '" + tensor + "' in '" + file_.path().string() + "'";
  }

  const SafetensorsFile& file_;
  const PeftConfig& config_;
  const LoraTargets& targets_;
  int64_t max_rank_;
  std::unordered_map<std::string, size_t> by_name_;
  std::map<std::string, Module> modules_;
  LoraAdapter adapter_;
};

// Pairs up the file's tensors.
Status LoraReader::collect() {
  for (const auto& [name, entry] : file_.entries()) {
    const bool down = name.ends_with(kDown), up = name.ends_with(kUp);
    if (!name.starts_with(kRoot) || !(down || up)) {
      return invalid_argument(in_file(name) +
                              " is no LoRA matrix of a linear module; allowed are "
                              "base_model.model.MODULE.lora_A.weight and .lora_B.weight.");
    }
    const size_t suffix = down ? kDown.size() : kUp.size();
    std::string module(name, kRoot.size(), name.size() - kRoot.size() - suffix);
    Module& pair = modules_[module];
    pair.name = std::move(module);
    (down ? pair.a : pair.b) = &entry;
  }
  for (const auto& [name, module] : modules_) {
    if (module.a != nullptr && module.b != nullptr) continue;
    return invalid_argument(in_file(tensor_name(module, module.a == nullptr ? kDown : kUp)) +
                            " is missing; the module has only the other matrix of the pair.");
  }
  if (modules_.empty()) {
    return invalid_argument("'" + file_.path().string() +
                            "' has no tensors; an adapter changes at least one module.");
  }
  return {};
}

std::string LoraReader::own_name(const std::string& name) const {
  const auto is_others = [&](const std::string& full) {
    return std::ranges::any_of(targets_.other_prefixes,
                               [&](const std::string& p) { return full.starts_with(p); });
  };
  if (name.starts_with(targets_.own_prefix)) return name;
  if (is_others(name)) return "";
  std::string full = targets_.default_prefix + name;
  return is_others(full) ? "" : full;
}

Status LoraReader::unknown_target(const Module& module, const std::string& full_name) const {
  std::vector<std::string> known;
  for (const LoraTarget& target : targets_.maps) known.push_back(target.name);
  const std::string close = nearest(full_name, known);
  return invalid_argument(
      "The adapter in '" + file_.path().parent_path().string() + "' changes the module '" +
      module.name + "', which takes no adapters in this model" +
      (close.empty() ? "" : "; the nearest that does is '" + close + "'") + ".");
}

Status LoraReader::check_shape(const Module& module, const SafetensorsEntry& entry,
                               std::string_view suffix, const Shape& expected) const {
  const std::string name = in_file(tensor_name(module, suffix));
  if (!(entry.shape == expected)) {
    return invalid_argument(name + " has shape " + entry.shape.to_string() + ", expected " +
                            expected.to_string() + ".");
  }
  if (is_float_dtype(entry.dtype)) return {};
  return invalid_argument(name + " has dtype " + std::string(dtype_name(entry.dtype)) +
                          ", expected F32, BF16, F16 or F64.");
}

bool LoraReader::is_zero(const SafetensorsEntry& entry) const {
  const std::byte* bytes = file_.bytes(entry);
  return std::all_of(bytes, file_.bytes(entry) + (entry.end - entry.begin),
                     [](std::byte b) { return b == std::byte{0}; });
}

// BF16 stays what it is; everything else becomes F32.
Result<Tensor> LoraReader::load(const std::string& name, const SafetensorsEntry& entry) const {
  const DType dtype = entry.dtype == DType::kBF16 ? DType::kBF16 : DType::kF32;
  const auto n = static_cast<size_t>(entry.shape.num_elements());
  Tensor out = Tensor::empty(entry.shape, dtype);
  if (dtype == DType::kBF16) {
    std::memcpy(out.raw_data(), file_.bytes(entry), out.bytes());
  } else {
    convert_elements(file_.bytes(entry), entry.dtype, out.raw_data(), dtype, n);
  }
  for (size_t i = 0; i < n; ++i) {
    const float value =
        dtype == DType::kBF16 ? to_float(out.data<bf16>()[i]) : out.data<float>()[i];
    if (std::isfinite(value)) continue;
    return invalid_argument(in_file(name) + " has the value " + std::to_string(value) +
                            " at element " + std::to_string(i) +
                            "; only finite numbers are allowed.");
  }
  return out;
}

void LoraReader::hash(const Tensor& tensor) {
  adapter_.content_hash =
      XXH3_64bits_withSeed(tensor.raw_data(), tensor.bytes(), adapter_.content_hash);
  const int64_t about[] = {tensor.dim(0), tensor.dim(1), static_cast<int64_t>(tensor.dtype())};
  adapter_.content_hash = XXH3_64bits_withSeed(about, sizeof(about), adapter_.content_hash);
}

Status LoraReader::add(const Module& module) {
  const std::string full_name = own_name(module.name);
  if (full_name.empty()) return {};
  const auto found = by_name_.find(full_name);
  if (found == by_name_.end()) {
    return is_zero(*module.b) ? Status() : unknown_target(module, full_name);
  }
  const LoraTarget& target = targets_.maps[found->second];
  const int64_t rank = config_.rank(module.name);
  if (rank > max_rank_) {
    return invalid_argument("The adapter in '" + file_.path().parent_path().string() +
                            "' has rank " + std::to_string(rank) + " in '" + module.name +
                            "'; `max_lora_rank` is " + std::to_string(max_rank_) + ".");
  }
  TUTTI_RETURN_IF_ERROR(check_shape(module, *module.a, kDown, Shape{rank, target.in_features}));
  TUTTI_RETURN_IF_ERROR(check_shape(module, *module.b, kUp, Shape{target.out_features, rank}));
  adapter_.maps.resize(targets_.maps.size());
  LoraMatrices& matrices = adapter_.maps[found->second];
  matrices.scale = config_.scale(module.name);
  TUTTI_ASSIGN_OR_RETURN(matrices.a, load(tensor_name(module, kDown), *module.a));
  TUTTI_ASSIGN_OR_RETURN(const Tensor up, load(tensor_name(module, kUp), *module.b));
  matrices.b = pack_lora_b(up);
  matrices.out_features = target.out_features;
  const uint64_t about[] = {found->second, std::bit_cast<uint32_t>(matrices.scale)};
  adapter_.content_hash = XXH3_64bits_withSeed(about, sizeof(about), adapter_.content_hash);
  hash(matrices.a);
  hash(up);
  adapter_.rank = std::max(adapter_.rank, rank);
  adapter_.bytes += matrices.a.bytes() + matrices.b.bytes();
  return {};
}

Result<std::shared_ptr<const LoraAdapter>> LoraReader::read() {
  TUTTI_RETURN_IF_ERROR(collect());
  // Widened to F32 it takes at most twice what the file does.
  size_t file_bytes = 0;
  for (const auto& [name, entry] : file_.entries()) file_bytes += entry.end - entry.begin;
  if (file_bytes > available_host_bytes() / 2) {
    return resource_exhausted("The adapter in '" + file_.path().parent_path().string() + "' has " +
                              human_bytes(static_cast<double>(file_bytes)) +
                              ", more than half of the memory that is left.");
  }
  for (const auto& [name, module] : modules_) TUTTI_RETURN_IF_ERROR(add(module));
  // Zero is the hash of no adapter.
  if (!adapter_.empty()) adapter_.content_hash |= 1;
  return std::make_shared<const LoraAdapter>(std::move(adapter_));
}

Status check_files(const std::filesystem::path& dir) {
  std::error_code ignored;
  const auto has = [&](const char* name) { return std::filesystem::exists(dir / name, ignored); };
  if (!std::filesystem::is_directory(dir, ignored)) {
    return invalid_argument(
        "'" + dir.string() +
        "' is not a directory; an adapter is one with adapter_config.json and " + kWeightsFile +
        ".");
  }
  if (!has("adapter_config.json")) {
    return invalid_argument("'" + dir.string() +
                            "' has no adapter_config.json; it is no PEFT adapter.");
  }
  if (has(kWeightsFile)) return {};
  if (has("adapter_model.bin")) {
    return invalid_argument("'" + dir.string() + "' has its weights as adapter_model.bin; only " +
                            kWeightsFile + " is allowed.");
  }
  return invalid_argument("'" + dir.string() + "' has no " + kWeightsFile + ".");
}

}  // namespace

Result<std::shared_ptr<const LoraAdapter>> read_lora(const std::filesystem::path& dir,
                                                     const LoraTargets& targets, int64_t max_rank) {
  TUTTI_RETURN_IF_ERROR(check_files(dir));
  TUTTI_ASSIGN_OR_RETURN(const PeftConfig config, PeftConfig::read(dir / "adapter_config.json"));
  TUTTI_ASSIGN_OR_RETURN(const auto file, SafetensorsFile::open(dir / kWeightsFile));
  return LoraReader(*file, config, targets, max_rank).read();
}

}  // namespace tutti
