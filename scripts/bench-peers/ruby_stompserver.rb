# Loaded before the packaged Ruby stompserver (ruby -r), so that it runs on a current
# Ruby. Nothing in it makes the server faster or slower.
#
# Its launcher hands the managers to connections by class variables written at top level,
# which Ruby 3 refuses: they are set on the class instead. Its choice of the next queue
# expects Hash#select to return an array, as in Ruby 1.8.

require 'eventmachine'

class File
  class << self
    alias exists? exist? unless method_defined?(:exists?)
  end
end

module LauncherPatch
  def start_server(host, port, handler = nil, *args, &block)
    return super unless block && handler && handler.name == 'StompServer::Protocols::Stomp'

    run = block.binding.local_variable_get(:stomp)
    %i[auth_required queue_manager topic_manager stompauth].each do |name|
      handler.class_variable_set("@@#{name}", run.public_send(name))
    end
    super(host, port, handler, *args, &nil)
  end
end
EventMachine.singleton_class.prepend(LauncherPatch)

module QueueManagerPatch
  def initialize(*args)
    super
    @queues.define_singleton_method(:select) { |&choice| to_a.select { |pair| choice.call(*pair) } }
  end
end

# The class comes with the launcher's own require.
TracePoint.new(:end) do |point|
  if point.self.is_a?(Class) && point.self.name == 'StompServer::QueueManager'
    point.self.prepend(QueueManagerPatch)
    point.disable
  end
end.enable
