#include "stages/edge.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <exception>

namespace tutti {
namespace {

Status check_joinable(const std::string& name, const Tensor& first, const Tensor& other) {
  bool same = first.dtype() == other.dtype() && first.rank() == other.rank() && first.rank() > 0;
  for (int i = 1; same && i < first.rank(); ++i) same = first.dim(i) == other.dim(i);
  if (!same) {
    return internal_error(
        fmt::format("Chunks of '{}' cannot be joined: one is {} {}, another {} {}.", name,
                    dtype_name(first.dtype()), first.shape().to_string(), dtype_name(other.dtype()),
                    other.shape().to_string()));
  }
  if (first.device().kind != Device::Kind::kCpu || other.device().kind != Device::Kind::kCpu) {
    return unimplemented(
        fmt::format("Chunks of '{}' lie on a device; only host memory can be joined.", name));
  }
  return {};
}

Result<Tensor> join_rows(const std::string& name, const std::vector<Tensor>& parts) {
  if (parts.size() == 1) return parts.front();
  int64_t rows = 0;
  for (const Tensor& part : parts) {
    TUTTI_RETURN_IF_ERROR(check_joinable(name, parts.front(), part));
    rows += part.dim(0);
  }
  Shape shape = parts.front().shape();
  shape.set_dim(0, rows);
  Tensor joined = Tensor::empty(shape, parts.front().dtype());
  auto* out = static_cast<std::byte*>(joined.raw_data());
  for (const Tensor& part : parts) {
    const Tensor dense = part.is_contiguous() ? part : part.clone();
    if (dense.bytes() > 0) std::memcpy(out, dense.raw_data(), dense.bytes());
    out += dense.bytes();
  }
  return joined;
}

Result<StagePayload> run_processor(const StageGraph& graph, int32_t from, int32_t to,
                                   StagePayload payload, bool last) {
  try {
    return graph.spec(to).input_processor({from, to}, std::move(payload), last);
  } catch (const std::exception& e) {
    return internal_error(fmt::format("The input processor failed: {}.", e.what()));
  } catch (...) {
    return internal_error("The input processor failed with an unknown exception.");
  }
}

// The request's own first, then those of companions in the order of their first chunk.
std::vector<std::string> roles_of(const std::vector<UpstreamChunk>& chunks) {
  std::vector<std::string> roles{""};
  for (const UpstreamChunk& chunk : chunks) {
    if (std::find(roles.begin(), roles.end(), chunk.companion_role) == roles.end()) {
      roles.push_back(chunk.companion_role);
    }
  }
  return roles;
}

StagePayload under_role(const std::string& role, StagePayload payload) {
  StagePayload named;
  for (auto& [name, tensor] : payload.tensors) {
    named.tensors.emplace(role + "/" + name, std::move(tensor));
  }
  if (payload.token_ids.empty()) return named;
  Tensor ids = Tensor::empty({static_cast<int64_t>(payload.token_ids.size())}, DType::kI32);
  std::memcpy(ids.raw_data(), payload.token_ids.data(), ids.bytes());
  named.tensors.emplace(role + "/token_ids", std::move(ids));
  return named;
}

}  // namespace

Result<StagePayload> concatenate(std::vector<StagePayload> parts) {
  if (parts.empty()) return StagePayload{};
  if (parts.size() == 1) return std::move(parts.front());
  StagePayload joined;
  std::map<std::string, std::vector<Tensor>> tensors;
  for (StagePayload& part : parts) {
    joined.token_ids.insert(joined.token_ids.end(), part.token_ids.begin(), part.token_ids.end());
    for (auto& [name, tensor] : part.tensors) tensors[name].push_back(std::move(tensor));
  }
  for (const auto& [name, list] : tensors) {
    TUTTI_ASSIGN_OR_RETURN(joined.tensors[name], join_rows(name, list));
  }
  return joined;
}

Result<StagePayload> process_edge(const StageGraph& graph, int32_t stage,
                                  std::vector<UpstreamChunk> chunks) {
  const std::string where = "Input of " + graph.describe(stage);
  std::vector<StagePayload> processed;
  const std::vector<std::string> roles = roles_of(chunks);
  for (int32_t source : graph.spec(stage).sources) {
    for (const std::string& role : roles) {
      std::vector<StagePayload> parts;
      bool last = false, any = false;
      for (UpstreamChunk& chunk : chunks) {
        if (chunk.from_stage != source || chunk.companion_role != role) continue;
        parts.push_back(std::move(chunk.payload));
        last |= chunk.last;
        any = true;
      }
      if (!any) continue;
      Result<StagePayload> whole = concatenate(std::move(parts));
      if (!whole) return std::move(whole).error().with_context(where);
      Result<StagePayload> result =
          run_processor(graph, source, stage, std::move(whole).value(), last);
      if (!result) return std::move(result).error().with_context(where);
      if (!role.empty()) result = under_role(role, std::move(result).value());
      processed.push_back(std::move(result).value());
    }
  }
  Result<StagePayload> joined = concatenate(std::move(processed));
  if (!joined) return std::move(joined).error().with_context(where);
  return joined;
}

}  // namespace tutti
