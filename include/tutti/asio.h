// The engine's asynchronous calls for Boost.Asio: `co_await engine_add_request(engine, request)`.
// Header only and optional: nothing else of Tutti needs it.
//
// Thread: any; each call completes on the executor of the coroutine (or of the handler) that waits
// for it. A call cannot be cancelled: it ends when the engine answers, at the latest when the
// engine shuts down.
#pragma once

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tutti/async_omni_engine.h"

namespace tutti {

namespace asio_detail {

// What the engine calls; copyable, as its callbacks are. Keeps the handler's executor running.
template <typename Value, typename Handler>
std::function<void(Value)> completion(Handler handler) {
  struct State {
    explicit State(Handler h)
        : handler(std::move(h)), work(boost::asio::make_work_guard(handler)) {}
    Handler handler;
    boost::asio::executor_work_guard<boost::asio::associated_executor_t<Handler>> work;
  };
  auto state = std::make_shared<State>(std::move(handler));
  return [state = std::move(state)](Value value) {
    const auto executor = state->work.get_executor();
    boost::asio::post(executor, [state, value = std::move(value)]() mutable {
      Handler handler = std::move(state->handler);
      state.reset();
      std::move(handler)(std::move(value));
    });
  };
}

// Calls `start` with the function that completes the operation.
template <typename Value, typename Token, typename Start>
auto initiate(Token&& token, Start start) {
  return boost::asio::async_initiate<Token, void(Value)>(
      [](auto handler, Start begin) { begin(completion<Value>(std::move(handler))); }, token,
      std::move(start));
}

}  // namespace asio_detail

// Completes with a Status.
template <typename Token = boost::asio::use_awaitable_t<>>
auto engine_add_request(AsyncOmniEngine& engine, AddRequest request, Token&& token = {}) {
  return asio_detail::initiate<Status>(
      std::forward<Token>(token), [&engine, request = std::move(request)](auto done) mutable {
        engine.add_request_async(std::move(request), std::move(done));
      });
}

// Completes with a Status.
template <typename Token = boost::asio::use_awaitable_t<>>
auto engine_add_streaming_update(AsyncOmniEngine& engine, StreamingUpdate update,
                                 Token&& token = {}) {
  return asio_detail::initiate<Status>(
      std::forward<Token>(token), [&engine, update = std::move(update)](auto done) mutable {
        engine.add_streaming_update_async(std::move(update), std::move(done));
      });
}

// Completes with Result<std::vector<AbortResult>> when every stage has let go.
template <typename Token = boost::asio::use_awaitable_t<>>
auto engine_abort(AsyncOmniEngine& engine, std::vector<std::string> request_ids,
                  Token&& token = {}) {
  return asio_detail::initiate<Result<std::vector<AbortResult>>>(
      std::forward<Token>(token), [&engine, ids = std::move(request_ids)](auto done) mutable {
        engine.abort_async(std::move(ids), std::move(done));
      });
}

// Completes with Result<EngineMessage>: the next message.
template <typename Token = boost::asio::use_awaitable_t<>>
auto engine_next_output(AsyncOmniEngine& engine, Token&& token = {}) {
  return asio_detail::initiate<Result<EngineMessage>>(
      std::forward<Token>(token),
      [&engine](auto done) { engine.try_get_output_async(std::move(done)); });
}

// Completes with Result<std::vector<RpcResult>>; arguments as of AsyncOmniEngine::collective_rpc.
template <typename Token = boost::asio::use_awaitable_t<>>
auto engine_collective_rpc(AsyncOmniEngine& engine, std::string method, double timeout_s = 60,
                           std::string args_json = {}, std::string kwargs_json = {},
                           std::vector<int32_t> stage_ids = {}, Token&& token = {}) {
  return asio_detail::initiate<Result<std::vector<RpcResult>>>(
      std::forward<Token>(token),
      [&engine, timeout_s, method = std::move(method), args = std::move(args_json),
       kwargs = std::move(kwargs_json), stages = std::move(stage_ids)](auto done) mutable {
        engine.collective_rpc_async(std::move(method), timeout_s, std::move(args),
                                    std::move(kwargs), std::move(stages), std::move(done));
      });
}

}  // namespace tutti
