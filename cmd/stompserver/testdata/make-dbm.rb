# Writes what the Ruby server's queue type dbm stores: twelve messages, of which the first was consumed.
require "dbm"

module StompServer
  class StompFrame
    def initialize(headers, body)
      @command, @headers, @body = "MESSAGE", headers, body
    end
  end
end

ids = (1..12).map { |i| "vm-1795418394-628170-#{i}" }
DBM.open("_queue_a") do |db|
  ids.each_with_index do |id, i|
    headers = { "destination" => "/queue/a", "message-id" => id, "n" => "#{i}\xE9".b }
    db[id] = Marshal.dump(StompServer::StompFrame.new(headers, "#{i}\xFF\0".b))
  end
end
File.binwrite("qinfo", Marshal.dump(
  queues: { "/queue/a" => { size: 11, frames: ids[1..], msgid: 13, enqueued: 12, dequeued: 1, exceptions: 2 } },
  frames: { "/queue/a" => { ids[1] => { exceptions: 2 } } }))
