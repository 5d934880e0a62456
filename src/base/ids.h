// Distinct types for identifiers, so that a stage id cannot be passed where a replica id belongs.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace tutti {

template <typename Tag, typename Value = int32_t>
struct Id {
  Value value{};
  constexpr Id() = default;
  constexpr explicit Id(Value v) : value(v) {}
  constexpr auto operator<=>(const Id&) const = default;
};

// The n-th accepted request of an engine; unique for the engine's life (the caller's request_id is
// a string and may come again after its request has ended).
using RequestKey = Id<struct RequestKeyTag, uint64_t>;
using StageId = Id<struct StageIdTag>;
using ReplicaId = Id<struct ReplicaIdTag>;
using BlockId = Id<struct BlockIdTag>;

}  // namespace tutti

template <typename Tag, typename Value>
struct std::hash<tutti::Id<Tag, Value>> {
  size_t operator()(tutti::Id<Tag, Value> id) const noexcept {
    return std::hash<Value>{}(id.value);
  }
};
