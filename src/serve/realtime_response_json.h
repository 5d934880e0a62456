// Parts of the events about one answer, as OpenAI has them.
#pragma once

#include <boost/json.hpp>
#include <string>

#include "serve/realtime_answers.h"

namespace tutti::serve {

// An event about the answer's one content part, or its one item.
boost::json::object at_part(const char* type, const RealtimeResponse& response);
boost::json::object at_item(const char* type, const RealtimeResponse& response,
                            boost::json::object item);
// The part as it is so far.
boost::json::object part_json(const RealtimeResponse& response);
boost::json::object usage_json(const Answer& answer, const ModelInfo& model);
// `status_details`: null for what is complete.
boost::json::value outcome_json(std::string_view outcome, const std::string& cancelled,
                                const Status& error);

}  // namespace tutti::serve
