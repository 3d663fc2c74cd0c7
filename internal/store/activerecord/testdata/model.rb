# Reads the table as the Ruby server's model does, and writes a row.
require "active_record"

module StompServer
  class StompFrame
    attr_accessor :command, :headers, :body
  end
end

ActiveRecord.use_yaml_unsafe_load = true if ActiveRecord.respond_to?(:use_yaml_unsafe_load=)
ActiveRecord::Base.use_yaml_unsafe_load = true if ActiveRecord::Base.respond_to?(:use_yaml_unsafe_load=)
ActiveRecord::Base.establish_connection(adapter: "sqlite3", database: ARGV[0])

class ArMessage < ActiveRecord::Base
  serialize :frame
end

ArMessage.order(:id).each do |m|
  f = m.frame
  body = f.body.size < 1000 ? f.body.dump : "#{f.body.bytesize} bytes, #{f.body.encoding},"
  puts [f.headers["destination"].dump, f.headers["type"].dump, body, f.headers["message-id"] == m.stomp_id].join(" ")
end
f = StompServer::StompFrame.new
f.command, f.headers, f.body = "MESSAGE", { "destination" => "/queue/a", "message-id" => "h-1795418394-1-9" }, "of Ruby"
ArMessage.create!(stomp_id: "h-1795418394-1-9", frame: f)
