// The body of POST /v1/responses, read and checked.
//
// Thread: any.
#pragma once

#include <boost/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "tutti/request.h"

#include "serve/http.h"
#include "serve/model_info.h"
#include "serve/response_store.h"

namespace tutti::serve {

struct ResponseRequest {
  std::string owner;  // the API key
  std::string model;
  std::vector<ChatMessage> history;  // without instructions, which do not carry over
  std::string instructions;
  boost::json::value previous = nullptr;
  boost::json::value metadata = boost::json::object();
  boost::json::value max_output_tokens = nullptr;
  boost::json::array tools;
  std::string tool_choice = "auto";
  bool parallel_tool_calls = true;
  size_t before = 0;                    // messages of the prompt that are not of `input`
  std::optional<int32_t> top_logprobs;  // of each token; none: no log probabilities
  double temperature = 0;
  double top_p = 1;
  bool stream = false;
  bool store = true;
  AddRequest request;
};

// `store`: of the responses that it may go on from.
Result<ResponseRequest> read_response_request(const ModelInfo& model, const ResponseStore& store,
                                              const HttpRequest& http);

}  // namespace tutti::serve
