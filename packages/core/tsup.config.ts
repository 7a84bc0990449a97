import { library } from '../../tsup.config.base';

export default library('src/runtime/worker-thread.ts');
