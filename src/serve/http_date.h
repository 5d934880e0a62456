// The time as HTTP has it in the header Date (RFC 9110, 5.6.7).
//
// Thread: any.
#pragma once

#include <ctime>
#include <string>
#include <string_view>

namespace tutti::serve {

// "Sun, 06 Nov 1994 08:49:37 GMT"
std::string http_date(std::time_t time);
// Of this second; written once a second and thread. Valid until the thread's next call.
std::string_view http_date_now();

}  // namespace tutti::serve
