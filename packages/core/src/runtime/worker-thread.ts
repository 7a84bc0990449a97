// Node only. The script of a worker runner's thread.
import { serveThread } from './serve-thread';

serveThread();
