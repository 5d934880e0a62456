#include "stages/stage_graph.h"

#include <fmt/format.h>

#include <algorithm>

namespace tutti {
namespace {

std::string_view stage_type_name(StageType type) {
  switch (type) {
    case StageType::kLlm:
      return "llm";
    case StageType::kGeneration:
      return "generation";
    case StageType::kDiffusion:
      return "diffusion";
  }
  return "";
}

Status check_sources(const StageSpec& spec, const std::string& name, int32_t stage, int32_t size) {
  for (size_t i = 0; i < spec.sources.size(); ++i) {
    const int32_t source = spec.sources[i];
    if (source < 0 || source >= size) {
      return invalid_argument(
          fmt::format("{} has the source {}, but the stages are 0 to {}.", name, source, size - 1));
    }
    if (source == stage) return invalid_argument(fmt::format("{} is its own source.", name));
    if (std::count(spec.sources.begin(), spec.sources.end(), source) > 1) {
      return invalid_argument(fmt::format("{} names the source {} twice.", name, source));
    }
  }
  if (!spec.sources.empty() && !spec.input_processor) {
    return invalid_argument(fmt::format("{} has sources but no input processor.", name));
  }
  if (spec.final_output && spec.final_output_type.empty()) {
    return invalid_argument(fmt::format("{} is a final output without a type.", name));
  }
  return {};
}

}  // namespace

Result<StageGraph> StageGraph::build(std::vector<StageSpec> specs) {
  StageGraph graph;
  graph.specs_ = std::move(specs);
  const int32_t size = graph.size();
  if (size == 0) return invalid_argument("The pipeline has no stages.");
  graph.consumers_.resize(size);
  for (int32_t stage = 0; stage < size; ++stage) {
    const StageSpec& spec = graph.specs_[stage];
    TUTTI_RETURN_IF_ERROR(check_sources(spec, graph.describe(stage), stage, size));
    for (int32_t source : spec.sources) graph.consumers_[source].push_back(stage);
    if (spec.final_output) graph.final_stages_.push_back(stage);
  }
  if (graph.final_stages_.empty()) {
    return invalid_argument("The pipeline has no stage with a final output.");
  }
  // Kahn's algorithm: what never loses all its sources stands on a cycle.
  std::vector<size_t> open(size);
  std::vector<int32_t> ready;
  for (int32_t stage = 0; stage < size; ++stage) {
    open[stage] = graph.specs_[stage].sources.size();
    if (open[stage] == 0) ready.push_back(stage);
  }
  for (size_t i = 0; i < ready.size(); ++i) {
    for (int32_t consumer : graph.consumers_[ready[i]]) {
      if (--open[consumer] == 0) ready.push_back(consumer);
    }
  }
  for (int32_t stage = 0; stage < size; ++stage) {
    if (open[stage] > 0) {
      return invalid_argument(fmt::format("{} waits for its own output: its sources form a cycle.",
                                          graph.describe(stage)));
    }
  }
  return graph;
}

std::string StageGraph::describe(int32_t stage) const {
  const std::string& name = specs_[stage].model_stage;
  return name.empty() ? fmt::format("stage {}", stage) : fmt::format("stage {} ({})", stage, name);
}

StageRuntimeInfo StageGraph::runtime_info(int32_t stage) const {
  const StageSpec& spec = specs_[stage];
  return {.final_output = spec.final_output,
          .final_output_type = spec.final_output ? spec.final_output_type : std::string(),
          .model_stage = spec.model_stage,
          .stage_type = std::string(stage_type_name(spec.type))};
}

std::vector<uint8_t> StageGraph::needed_for(std::span<const int32_t> wanted) const {
  std::vector<uint8_t> needed(specs_.size(), 0);
  std::vector<int32_t> open(wanted.begin(), wanted.end());
  while (!open.empty()) {
    const int32_t stage = open.back();
    open.pop_back();
    if (std::exchange(needed[stage], uint8_t{1})) continue;
    open.insert(open.end(), specs_[stage].sources.begin(), specs_[stage].sources.end());
  }
  return needed;
}

}  // namespace tutti
