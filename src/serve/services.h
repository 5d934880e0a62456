// Services: what the endpoints share.
#pragma once

#include <cstdint>

#include "serve/event_stream.h"
#include "serve/gateway.h"
#include "serve/metrics.h"
#include "serve/model_info.h"
#include "serve/transcripts.h"

namespace tutti::serve {

struct Services {
  Gateway& gateway;
  const ModelInfo& model;
  Metrics& metrics;
  StreamRegistry& streams;
  Transcripts& transcripts;
  int64_t realtime_window_ms = 0;  // ServerOptions::realtime_window_s
};

}  // namespace tutti::serve
