// HttpServer: HTTP/1.1 with keep-alive and streamed answers, WebSocket, and TLS, on Boost.Beast.
//
// Thread: create, start, stop by the owner; handlers run on the server's I/O threads. Invariants:
// every connection has a deadline for whatever it is doing; headers, bodies, messages and unread
// output are bounded. Owns sockets and I/O threads.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "tutti/status.h"

#include "serve/http.h"

namespace tutti::serve {

class Router;

struct HttpServerOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 8091;  // 0: any free one
  int32_t num_threads = 2;
  int32_t max_connections = 4096;
  int64_t max_header_bytes = 32 << 10;
  int64_t max_body_bytes = 64 << 20;
  int64_t max_message_bytes = 16 << 20;  // of a WebSocket
  int64_t max_unread_bytes = 64 << 20;   // what a slow reader may leave with the server
  double header_timeout_s = 10;          // from the first byte to the end of the headers
  double body_timeout_s = 120;
  double write_timeout_s = 60;       // for the client to take anything
  double keep_alive_timeout_s = 75;  // between requests
  std::string tls_cert_file;         // PEM chain and key; both or none
  std::string tls_key_file;
};

// What is wrong with the TLS files, if they are given: one that is missing, cannot be read or does
// not fit the other.
Status check_tls(const HttpServerOptions& options);

class HttpServer {
 public:
  // The router must outlive the server.
  static Result<std::unique_ptr<HttpServer>> start(const Router& router, HttpServerOptions options);
  virtual ~HttpServer() = default;
  virtual uint16_t port() const = 0;
  virtual int64_t connections() const = 0;
  // Accepts nothing more, waits for running answers until `grace_s`, then cuts what is left.
  virtual void stop(double grace_s) = 0;
};

}  // namespace tutti::serve
