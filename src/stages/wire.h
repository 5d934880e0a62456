// The archive that messages between processes are made of. WireWriter and WireReader share one
// function, wire_transfer(), and one describe() per struct, so that reading and writing cannot
// drift apart; a describe() names all members by a structured binding, so that a new member does
// not compile until it is described.
//
// Both ends run on one machine with one version of the program: scalars travel as they are in
// memory. Thread: one at a time. Invariants: a reader never reads outside what it was given, never
// allocates more than its input justifies, and after its first error yields empty values only.
#pragma once

#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include "tutti/status.h"

#include "base/clock.h"
#include "base/ids.h"
#include "tensor/tensor.h"

namespace tutti {

// Tensors of a message lie behind its other bytes, each at a multiple of this.
constexpr size_t kWireAlignment = 64;
constexpr size_t wire_align(size_t n) {
  return (n + kWireAlignment - 1) / kWireAlignment * kWireAlignment;
}

// The last value of an enum that may be read; specialised beside the describe() functions.
template <typename T>
inline constexpr T kWireLast = T::not_described;
template <>
inline constexpr StatusCode kWireLast<StatusCode> = StatusCode::kDeadlineExceeded;
// A value to read into; specialised for types that have no default.
template <typename T>
T wire_blank() {
  return T{};
}

class WireWriter {
 public:
  static constexpr bool kReads = false;

  void raw(void* data, size_t bytes);
  // Writes and returns the number of elements that follow.
  size_t length(size_t size);
  void tensor(Tensor& tensor);
  bool ok() const { return true; }
  void fail(const char*) {}

  template <typename... T>
  void operator()(T&... fields);

  // The message without its tensors, and how many bytes of tensors follow.
  std::span<const std::byte> meta() const { return meta_; }
  size_t tensor_bytes() const { return tensor_bytes_; }
  // Meta, a gap up to the alignment when tensors follow, tensors.
  size_t body_bytes() const;
  void copy_body(std::byte* to) const;
  void clear();

 private:
  std::vector<std::byte> meta_;
  std::vector<Tensor> tensors_;
  size_t tensor_bytes_ = 0;
};

class WireReader {
 public:
  static constexpr bool kReads = true;

  // `meta` stays the caller's; tensors become views of `body`, which begins with `meta` and may be
  // null when there are none.
  WireReader(std::span<const std::byte> meta, std::shared_ptr<Storage> body)
      : meta_(meta), body_(std::move(body)) {}

  void raw(void* data, size_t bytes);
  size_t length(size_t unused);
  void tensor(Tensor& tensor);
  bool ok() const { return error_ == nullptr; }
  void fail(const char* what) {
    if (ok()) error_ = what;
  }

  template <typename... T>
  void operator()(T&... fields);

  size_t left() const { return ok() ? meta_.size() - at_ : 0; }
  // OK when everything was valid and nothing is left over.
  Status finish() const;

 private:
  const std::span<const std::byte> meta_;
  const std::shared_ptr<Storage> body_;
  size_t at_ = 0;
  const char* error_ = nullptr;
};

template <typename T>
concept WireScalar = std::is_arithmetic_v<T> && !std::is_same_v<T, bool>;

template <typename Archive, typename T>
void wire_transfer(Archive& ar, T& value);

template <typename Archive, WireScalar T>
void wire_transfer(Archive& ar, T& value) {
  ar.raw(&value, sizeof value);
}

template <typename Archive>
void wire_transfer(Archive& ar, bool& value) {
  uint8_t byte = value ? 1 : 0;
  ar.raw(&byte, 1);
  if (byte > 1) ar.fail("a truth value that is neither 0 nor 1");
  if constexpr (Archive::kReads) value = ar.ok() && byte == 1;
}

template <typename Archive, typename T>
  requires std::is_enum_v<T>
void wire_transfer(Archive& ar, T& value) {
  using Value = std::underlying_type_t<T>;
  auto number = static_cast<Value>(value);
  ar.raw(&number, sizeof number);
  if (number < 0 || number > static_cast<Value>(kWireLast<T>)) ar.fail("an unknown enumerator");
  if constexpr (Archive::kReads) value = ar.ok() ? static_cast<T>(number) : T{};
}

template <typename Archive>
void wire_transfer(Archive& ar, std::string& text) {
  const size_t size = ar.length(text.size());
  if constexpr (Archive::kReads) text.resize(size);
  ar.raw(text.data(), size);
}

template <typename Archive, typename T>
void wire_transfer(Archive& ar, std::vector<T>& items) {
  const size_t size = ar.length(items.size());
  if constexpr (WireScalar<T>) {
    if constexpr (Archive::kReads) {
      if (size > ar.left() / sizeof(T)) return ar.fail("a list that is longer than the message");
      items.resize(size);
    }
    ar.raw(items.data(), size * sizeof(T));
  } else if constexpr (Archive::kReads) {
    items.clear();
    for (size_t i = 0; i < size && ar.ok(); ++i) wire_transfer(ar, items.emplace_back());
  } else {
    for (T& item : items) wire_transfer(ar, item);
  }
}

template <typename Archive, typename K, typename V>
void wire_transfer(Archive& ar, std::map<K, V>& items) {
  const size_t size = ar.length(items.size());
  if constexpr (Archive::kReads) {
    items.clear();
    for (size_t i = 0; i < size && ar.ok(); ++i) {
      K key{};
      V value{};
      ar(key, value);
      if (ar.ok()) items.insert_or_assign(std::move(key), std::move(value));
    }
  } else {
    for (auto& [key, value] : items) ar(const_cast<K&>(key), value);
  }
}

template <typename Archive, typename T>
void wire_transfer(Archive& ar, std::optional<T>& value) {
  bool has = value.has_value();
  wire_transfer(ar, has);
  if constexpr (Archive::kReads) {
    value.reset();
    if (has) value.emplace();
  }
  if (value) wire_transfer(ar, *value);
}

// Never null.
template <typename Archive, typename T>
void wire_transfer(Archive& ar, std::unique_ptr<T>& value) {
  if constexpr (Archive::kReads) value = std::make_unique<T>();
  wire_transfer(ar, *value);
}

template <typename Archive, typename... T>
void wire_transfer(Archive& ar, std::variant<T...>& value) {
  auto index = static_cast<uint8_t>(value.index());
  ar.raw(&index, 1);
  if constexpr (Archive::kReads) {
    if (!ar.ok() || index >= sizeof...(T)) return ar.fail("an unknown alternative");
    size_t i = 0;
    ((i++ == index ? static_cast<void>(value.template emplace<T>(wire_blank<T>())) : void()), ...);
  }
  std::visit([&ar](auto& alternative) { wire_transfer(ar, alternative); }, value);
}

template <typename Archive, typename Tag, typename Value>
void wire_transfer(Archive& ar, Id<Tag, Value>& id) {
  wire_transfer(ar, id.value);
}

// The steady clock is the machine's: a moment means the same in every process.
template <typename Archive>
void wire_transfer(Archive& ar, TimePoint& moment) {
  int64_t ticks = moment.time_since_epoch().count();
  wire_transfer(ar, ticks);
  if constexpr (Archive::kReads) moment = TimePoint(Duration(ticks));
}

template <typename Archive>
void wire_transfer(Archive& ar, Tensor& value) {
  ar.tensor(value);
}

template <typename Archive>
void wire_transfer(Archive& ar, Status& status) {
  StatusCode code = status.code();
  std::string message = status.message(), param = status.param();
  double retry_after_s = status.retry_after_s();
  ar(code, message, param, retry_after_s);
  if constexpr (Archive::kReads) {
    status = Status(code, std::move(message))
                 .with_param(std::move(param))
                 .with_retry_after(retry_after_s);
  }
}

template <typename Archive, typename T>
void wire_transfer(Archive& ar, Result<T>& result) {
  bool has = result.ok();
  wire_transfer(ar, has);
  if constexpr (Archive::kReads) {
    T value{};
    Status error;
    has ? wire_transfer(ar, value) : wire_transfer(ar, error);
    if (!has && error.ok()) {
      ar.fail("an error without a code");
      error = internal_error("The message is damaged.");
    }
    result = has ? Result<T>(std::move(value)) : Result<T>(std::move(error));
  } else if (has) {
    wire_transfer(ar, result.value());
  } else {
    wire_transfer(ar, const_cast<Status&>(result.error()));
  }
}

// Everything else is a struct with a describe(), found by its namespace.
template <typename Archive, typename T>
void wire_transfer(Archive& ar, T& value) {
  describe(ar, value);
}

template <typename... T>
void WireWriter::operator()(T&... fields) {
  (wire_transfer(*this, fields), ...);
}
template <typename... T>
void WireReader::operator()(T&... fields) {
  (wire_transfer(*this, fields), ...);
}

}  // namespace tutti
