-- What scripts call and may have to wait for: asks, and yields until the filter comes back with the answer.
local yield = coroutine.yield
-- Names of Lua 5.1, which scripts for Envoy know.
unpack = unpack or table.unpack
loadstring = loadstring or load
EnvoyTimestampResolution = { MILLISECOND = "millisecond", MICROSECOND = "microsecond", NANOSECOND = "nanosecond" }
return {
  body = function(handle, always_wrap_body)
    if handle:__needs_body() then yield("body") end
    return handle:__body(always_wrap_body)
  end,
  bodyChunks = function(handle)
    handle:__stream_body()
    return function()
      if handle:__needs_chunk() then yield("chunk") end
      return handle:__chunk()
    end
  end,
  trailers = function(handle)
    if handle:__needs_trailers() then yield("trailers") end
    return handle:__trailers()
  end,
  respond = function(handle, headers, body)
    handle:__respond(headers, body)
    yield("respond")
  end,
  httpCall = function(handle, cluster, headers, body, timeout, asynchronous)
    local options = timeout
    if type(timeout) ~= "table" then options = { timeout_ms = timeout, asynchronous = asynchronous } end
    if handle:__call(cluster, headers, body, options) then
      yield("call")
      return handle:__answer()
    end
  end,
}
