// TUTTI_CHECK: programmer errors, always on; prints and aborts. TUTTI_DCHECK: the same in debug
// builds only. Bad input is never a check: it is a Status.
#pragma once

namespace tutti {
[[noreturn]] void check_failed(const char* file, int line, const char* condition,
                               const char* message);
}  // namespace tutti

#define TUTTI_CHECK(condition, message)                               \
  do {                                                                \
    if (!(condition)) [[unlikely]]                                    \
      ::tutti::check_failed(__FILE__, __LINE__, #condition, message); \
  } while (false)

#ifdef NDEBUG
#define TUTTI_DCHECK(condition, message) \
  do {                                   \
  } while (false)
#else
#define TUTTI_DCHECK(condition, message) TUTTI_CHECK(condition, message)
#endif
