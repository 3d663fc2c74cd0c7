# Plays the Ruby server's queues on the directory ARGV[0], and writes what it finds: a line
# for each message, in order. With ARGV[1] it then works with them as the server would, by
# its own code in the directory ARGV[1].
class File
  class << self
    alias exists? exist? unless method_defined?(:exists?)
  end
end

module StompServer
  class StompFrame
    attr_accessor :command, :headers, :body

    def initialize(command = nil, headers = nil, body = nil)
      @command, @headers, @body = command, headers || {}, body || ''
    end
  end
end

dir, original = ARGV
info = Marshal.load(File.binread("#{dir}/qinfo"))
info[:queues].each do |dest, queue|
  raise 'the size is wrong' unless queue[:size] == queue[:frames].size
  queue[:frames].each do |id|
    file = File.binread("#{queue[:queue_dir]}/#{id}")
    length, size = file[0, 8].hex, file[8, 8].hex
    raise 'the lengths are wrong' unless file.bytesize == 16 + length + size
    frame = Marshal.load(file[16, length])
    frame.body = file[16 + length, size]
    raise 'the frame is wrong' unless frame.command == 'MESSAGE' && frame.headers['message-id'] == id
    # As the server sends it; it fails where encodings do not go together.
    out = frame.command + "\n"
    frame.headers.each_pair { |key, value| out << "#{key}:#{value}\n" }
    out << "\n"
    out << frame.body.to_s
    puts "#{dest.b} #{queue[:msgid]} #{info[:frames][dest][id][:exceptions]} #{out.unpack1('H*')}"
  end
end
exit unless original

%w[stomp_id queue queue/file_queue].each { |name| load "#{original}/#{name}.rb" }
queue = StompServer::FileQueue.new(dir)
queue.checkpoint_interval = 0
first = queue.dequeue('/queue/a')
second = queue.dequeue('/queue/a')
queue.requeue('/queue/a', second)
queue.dequeue('/queue/gone')
queue.enqueue('/queue/a', StompServer::StompFrame.new('MESSAGE', { 'destination' => '/queue/a', 'x' => 'y' }, 'from Ruby'))
queue.enqueue('/queue/new', StompServer::StompFrame.new('MESSAGE', { 'destination' => '/queue/new' }, "\xff\x00".b))
queue.requeue('/queue/dead', queue.dequeue('/queue/dead'))
queue.requeue('/queue/dead', queue.dequeue('/queue/dead'))
queue.stop
raise 'the wrong one came first' unless first.body == 'one'
