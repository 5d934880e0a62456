// Calls of the contract that are not there yet.
#include "orchestrator/async_omni_engine_impl.h"

namespace tutti {
namespace {
Status not_yet() { return unimplemented("This call is not implemented yet."); }
}  // namespace

void AsyncOmniEngineImpl::add_request_async(AddRequest, std::function<void(Status)> done) {
  done(not_yet());
}
Status AsyncOmniEngineImpl::add_streaming_update(StreamingUpdate) { return not_yet(); }
void AsyncOmniEngineImpl::add_streaming_update_async(StreamingUpdate,
                                                     std::function<void(Status)> done) {
  done(not_yet());
}
void AsyncOmniEngineImpl::abort_async(std::vector<std::string>,
                                      std::function<void(Result<std::vector<AbortResult>>)> done) {
  done(not_yet());
}
void AsyncOmniEngineImpl::try_get_output_async(std::function<void(Result<EngineMessage>)> done) {
  done(not_yet());
}
Result<std::vector<RpcResult>> AsyncOmniEngineImpl::collective_rpc(const std::string&, double,
                                                                   const std::string&,
                                                                   const std::string&,
                                                                   const std::vector<int32_t>&) {
  return not_yet();
}
void AsyncOmniEngineImpl::collective_rpc_async(
    std::string, double, std::string, std::string, std::vector<int32_t>,
    std::function<void(Result<std::vector<RpcResult>>)> done) {
  done(not_yet());
}
Result<int32_t> AsyncOmniEngineImpl::add_replica(int32_t, double) { return not_yet(); }
Status AsyncOmniEngineImpl::remove_replica(int32_t, int32_t, double) { return not_yet(); }
OmniStats AsyncOmniEngineImpl::stats() const {
  OmniStats stats;
  stats.queues = queues();
  stats.pools = stage_pools();
  return stats;
}

}  // namespace tutti
