// Names for threads, as debuggers and `top -H` show them.
#pragma once

#include <string>

namespace tutti {
// Names the calling thread; the system keeps the first 15 bytes.
void set_thread_name(const std::string& name);
std::string thread_name();
}  // namespace tutti
