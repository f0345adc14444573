// ThreadSanitizer and a gRPC that it did not compile. Our code is instrumented, and so is what we
// instantiate of gRPC's headers; the library is not, so its locks and queues order nothing that
// ThreadSanitizer sees. Suppressed is only what has gRPC's own code at the top of one of its
// stacks: handlers, streams and clients of ours run below gRPC's frames all the time, so a pattern
// for any frame would hide them, too.

// Reads, writes and frees inside the libraries (gRPC, abseil, upb, OpenSSL) are theirs.
extern "C" const char* __tsan_default_options() { return "ignore_noninstrumented_modules=1"; }

extern "C" const char* __tsan_default_suppressions() {
  return
      // A call's buffers, filled by the thread that starts an operation and read by the one that
      // the completion queue gives its end to: handed over by the library's queue.
      "race_top:^grpc::\n"
      "race:grpc::internal::CallOpSet\n"
      "race:grpc::internal::InterceptorBatchMethodsImpl\n"
      "race:grpc::internal::CallOpSendMessage\n"
      "race:grpc::Status::\n"
      // The count of what a server call waits for, made by one thread and dropped by another.
      "race:grpc::internal::ServerCallbackCall::Unref\n"
      "race_top:^std::__atomic_base<\n"
      "race_top:^std::atomic<\n"
      // The callback in such a buffer, and what the standard library calls to make and end it. Ours
      // are set before the threads that call them start.
      "race_top:^std::*grpc::\n"
      "race_top:^std::function<\n"
      "race_top:^std::_Function_base\n"
      "race_top:^std::_Function_handler<\n";
}
