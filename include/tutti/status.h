// Status and Result<T>: how every fallible call of Tutti reports, by value. A message is one full
// sentence that says what was found and what is allowed; codes map to HTTP statuses.
#pragma once

#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace tutti {

enum class StatusCode {
  kOk = 0,
  kInvalidArgument,    // 400
  kUnauthenticated,    // 401
  kNotFound,           // 404
  kAlreadyExists,      // 409
  kPayloadTooLarge,    // 413
  kResourceExhausted,  // 429: a full queue; retry_after_s() says when to come back
  kAborted,            // 499: ended by the caller
  kInternal,           // 500
  kUnimplemented,      // 501
  kUnavailable,        // 503: shutting down, or no live replica
  kDeadlineExceeded,   // 504
};

int http_status(StatusCode code);
std::string_view status_code_name(StatusCode code);

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }
  // The request field or command-line flag the error is about; empty when none.
  const std::string& param() const { return param_; }
  // Seconds after which a retry may succeed; 0 when not known.
  double retry_after_s() const { return retry_after_s_; }

  Status&& with_param(std::string param) && {
    param_ = std::move(param);
    return std::move(*this);
  }
  Status&& with_retry_after(double seconds) && {
    retry_after_s_ = seconds;
    return std::move(*this);
  }
  // Puts "prefix: " before the message, to say where a lower layer's error happened.
  Status&& with_context(std::string_view prefix) && {
    message_ = std::string(prefix) + ": " + message_;
    return std::move(*this);
  }
  // "INVALID_ARGUMENT: message"; for logs. People see message() alone.
  std::string to_string() const;

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
  std::string param_;
  double retry_after_s_ = 0;
};

Status invalid_argument(std::string message);
Status not_found(std::string message);
Status internal_error(std::string message);
Status unavailable(std::string message);
Status unimplemented(std::string message);
Status deadline_exceeded(std::string message);
Status resource_exhausted(std::string message);

// A value or the Status that says why there is none. Names follow std::expected.
template <typename T>
class [[nodiscard]] Result {
 public:
  using value_type = T;

  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Status status) : state_(std::in_place_index<1>, std::move(status)) {
    if (std::get<1>(state_).ok()) std::abort();  // a Result without value must carry an error
  }

  bool has_value() const { return state_.index() == 0; }
  bool ok() const { return has_value(); }
  explicit operator bool() const { return has_value(); }

  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  T&& value() && { return std::get<0>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const Status& error() const& { return std::get<1>(state_); }
  Status&& error() && { return std::get<1>(std::move(state_)); }
  // OK when there is a value.
  Status status() const { return has_value() ? Status() : error(); }

 private:
  std::variant<T, Status> state_;
};

}  // namespace tutti

#define TUTTI_CONCAT_INNER(a, b) a##b
#define TUTTI_CONCAT(a, b) TUTTI_CONCAT_INNER(a, b)

// Returns the error of `expr` from the enclosing function.
#define TUTTI_RETURN_IF_ERROR(expr)              \
  do {                                           \
    ::tutti::Status tutti_status = (expr);       \
    if (!tutti_status.ok()) return tutti_status; \
  } while (false)

// Declares or assigns `lhs` from a Result, or returns its error.
#define TUTTI_ASSIGN_OR_RETURN(lhs, expr) \
  TUTTI_ASSIGN_OR_RETURN_IMPL(TUTTI_CONCAT(tutti_result_, __LINE__), lhs, expr)
#define TUTTI_ASSIGN_OR_RETURN_IMPL(result, lhs, expr)       \
  auto result = (expr);                                      \
  if (!result.has_value()) return std::move(result).error(); \
  lhs = std::move(result).value()
